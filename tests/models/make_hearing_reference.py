"""Write data/hearing.json: what transformers computes from pico's checkpoint, for test_hearing_graph.py.

Once for every new checkpoint, where the build extra is installed:

    PYTHONPATH=server:. python tests/models/make_hearing_reference.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from hearing_sound import voiced

from engine_build.whisper.parity import Reference
from engine_build.whisper.weights import weights_sha256
from riposte.mel import log_mel

CHECKPOINT = Path(__file__).parents[2] / "onnx_models" / "pico" / "checkpoints" / "hearing"
TARGET = Path(__file__).parent / "data" / "hearing.json"
TOKENS = 16


def main() -> None:
    """Decode greedily without any bias, on beyond the end token, at three lengths; the last is the window."""
    reference = Reference(CHECKPOINT)
    settings = reference.whole.generation_config
    forced = sorted(settings.forced_decoder_ids)
    prompt = [settings.decoder_start_token_id, *(token for _, token in forced)]
    cases = []
    for seconds in (0.88, 3.2, reference.window / 100 - 0.4):
        mel = log_mel(voiced(seconds), reference.whole.config.num_mel_bins)
        states = reference.states(mel)
        tokens = list(prompt)
        while len(tokens) < len(prompt) + TOKENS:
            tokens.append(int(reference.logits(states, tokens)[-1].argmax()))
        logits = reference.logits(states, tokens[:-1])[len(prompt) - 1 :].astype(np.float64)
        logprobs = logits.max(axis=1) - np.log(np.exp(logits).sum(axis=1))
        cases.append(
            {
                "seconds": seconds,
                "cross": [_looks(array) for array in reference.cross(states)],
                "tokens": tokens[len(prompt) :],
                "logprobs": [round(float(value), 5) for value in logprobs],
            }
        )
    stored = {"weights_sha256": weights_sha256(CHECKPOINT), "prompt": prompt, "cases": cases}
    TARGET.write_text(json.dumps(stored, indent=1) + "\n")


def _looks(array: Any) -> dict[str, Any]:
    """Return the shape, the mean size, and a value of every 1/8 of an array."""
    flat = array.reshape(-1)
    some = flat[:: len(flat) // 8][:8]
    return {
        "shape": list(array.shape),
        "size": float(f"{np.abs(flat).mean():.6g}"),
        "some": [float(f"{value:.6g}") for value in some],
    }


if __name__ == "__main__":
    main()
