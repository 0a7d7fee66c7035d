"""Store what transformers answers, so that tests can hold the served graph to it without torch.

    python -m engine_build.reference onnx_models/pico/checkpoints/thinking onnx_models/pico/thinking

writes tests/models/data/thinking.json: prompts and greedy tokens (the best that end no reply) of
engine_build.llm_parity's conversations, and the best logits after each prompt. Run it whenever the
checkpoint changes.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from engine_build.llm_onnx import weights_sha256
from engine_build.llm_parity import compare
from riposte.errors import RiposteError

DATA = Path(__file__).parents[1] / "tests" / "models" / "data"
_BEST = 8


def write_reference(checkpoint: Path, folder: Path, path: Path) -> None:
    """Write the reference of a built model. Raises ModelError when its prompts differ."""
    cases: dict[int, dict[str, Any]] = {}
    for step in compare(checkpoint, folder):
        case = cases.get(step.prompt)
        if case is None:
            best = np.argsort(-step.expected)[:_BEST].tolist()
            logits = [round(float(step.expected[token]), 5) for token in best]
            case = {"prompt": list(step.prompt_ids), "best": best, "logits": logits, "greedy": []}
            cases[step.prompt] = case
        case["greedy"].append(step.expected_token)
    # A line a case: short to read in a diff, and a number a line is not.
    lines = ",\n".join(f"  {json.dumps(case)}" for case in cases.values())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f'{{"weights_sha256": "{weights_sha256(checkpoint)}",\n "cases": [\n{lines}\n]}}\n')


def main() -> int:
    """Write the reference that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m engine_build.reference", description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("folder", type=Path, help="the built model; the file is called like it")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    try:
        write_reference(options.checkpoint, options.folder, options.data / f"{options.folder.name}.json")
    except RiposteError as exc:
        print(exc, file=sys.stderr)
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(main())
