"""The exporter against transformers, live, on random weights of several shapes. Needs the `build` extra."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from riposte.backends.asr_whisper import WhisperAsr
from riposte.errors import ModelError
from riposte.manifest import check_manifest
from riposte.mel import log_mel

pytestmark = pytest.mark.build
pytest.importorskip("torch", reason="needs the build extra")
pytest.importorskip("transformers", reason="needs the build extra")

SIGNALS = ["<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|fr|>", "<|transcribe|>", "<|notimestamps|>"]
SMALL = {"d_model": 48, "encoder_layers": 2, "decoder_layers": 2, "heads": (4, 4), "mels": 80, "window": 100}
SHAPES = [
    pytest.param(SMALL, id="equal"),
    pytest.param({**SMALL, "encoder_layers": 4, "decoder_layers": 1}, id="like distil and turbo"),
    pytest.param({**SMALL, "mels": 128, "d_model": 72, "heads": (3, 6)}, id="128 mels, unequal heads"),
    pytest.param({**SMALL, "signals": ["<|nospeech|>"], "decoder_layers": 3}, id="with a no-speech token"),
]


def make_checkpoint(folder: Path, shape: dict[str, Any], **settings: Any) -> Path:
    """Write random weights, rounded to fp16, with a byte-level tokenizer."""
    import torch
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import GenerationConfig, WhisperConfig, WhisperForConditionalGeneration

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({letter: i for i, letter in enumerate(letters)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    signals = [*SIGNALS, *shape.get("signals", ())]
    tokenizer.add_special_tokens([AddedToken(signal, special=True) for signal in signals])
    folder.mkdir(parents=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    ids = {signal: tokenizer.token_to_id(signal) for signal in signals}
    tokens = {
        "decoder_start_token_id": ids["<|startoftranscript|>"],
        **dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"), ids["<|endoftext|>"]),
    }
    torch.manual_seed(1)
    config = WhisperConfig(
        vocab_size=len(letters) + len(signals) + 3,  # rows without a token, as in padded vocabularies
        num_mel_bins=shape["mels"],
        d_model=shape["d_model"],
        encoder_layers=shape["encoder_layers"],
        decoder_layers=shape["decoder_layers"],
        encoder_attention_heads=shape["heads"][0],
        decoder_attention_heads=shape["heads"][1],
        encoder_ffn_dim=96,
        decoder_ffn_dim=80,
        max_source_positions=shape["window"],
        max_target_positions=40,
        init_std=0.2,
        begin_suppress_tokens=[],
        **tokens,
    )
    WhisperForConditionalGeneration(config).half().float().save_pretrained(folder)
    GenerationConfig(**{"begin_suppress_tokens": [], **tokens, **settings}).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("half", [False, True], ids=["fp32", "fp16 storage"])
def test_what_is_built_says_what_transformers_says(tmp_path: Path, shape: dict[str, Any], half: bool) -> None:
    from engine_build.whisper.build import build_whisper

    checkpoint = make_checkpoint(tmp_path / "checkpoint", shape)
    manifest = build_whisper(
        checkpoint,
        tmp_path / "model",
        name="random",
        rebuild="make engines",
        half=half,
        tail_s=0.2,
        floor_s=0.3,
    )
    parity = manifest.built["parity"]
    assert parity["equal"] == parity["tokens"] > 0
    assert max(parity["cross"], parity["logits"]) < 1e-5
    assert check_manifest(tmp_path / "model") == manifest
    weights = (checkpoint / "model.safetensors").stat().st_size
    graphs = sum((tmp_path / "model" / name).stat().st_size for name in ("encoder.onnx", "decoder.onnx"))
    # The encoder's graph has the decoder's cross projections too.
    assert graphs < (0.75 if half else 1.35) * weights + 150_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a checkpoint that has a no-speech token, and the model built from it."""
    from engine_build.whisper.build import build_whisper

    folder = tmp_path_factory.mktemp("built")
    checkpoint = make_checkpoint(folder / "checkpoint", {**SMALL, "signals": ["<|nospeech|>"]})
    build_whisper(checkpoint, folder / "model", name="random", rebuild="make engines", tail_s=0.2)
    return folder


def test_a_draft_is_verified_in_one_pass(built: Path) -> None:
    from engine_build.whisper.parity import Graphs

    graphs = Graphs(built / "model")
    cross = graphs.cross(log_mel(np.sin(np.arange(16_000, dtype=np.float32) / 9), 80))
    prompt = [257, 258, 260, 261]

    def greedily(tokens: list[int], position: int, count: int) -> list[int]:
        made: list[int] = []
        while len(made) < count:
            step = graphs.step(cross, tokens, position)
            position += len(tokens)
            tokens = [int(step["next_token"][0, -1])]
            made += tokens
        return made

    wanted = greedily(prompt, 0, 20)
    assert len(set(wanted)) >= 3  # else anything would pass
    # A draft of 12 whose 9th token is wrong: accepted up to there, then on as if nothing had been.
    draft = [*wanted[:8], (wanted[8] + 1) % 256, *wanted[9:12]]
    graphs.step(cross, prompt, 0)
    verified = graphs.step(cross, draft, len(prompt))["next_token"][0].tolist()
    assert verified[:8] == wanted[1:9]
    assert verified[8:] != wanted[9:13]
    assert greedily([verified[7]], len(prompt) + 8, 11) == wanted[9:]


def test_no_speech_is_the_probability_after_the_first_token(built: Path) -> None:
    import torch

    from engine_build.whisper.parity import Graphs, Reference

    graphs, reference = Graphs(built / "model"), Reference(built / "checkpoint")
    mel = log_mel(np.sin(np.arange(16_000, dtype=np.float32) / 9), 80)
    bias = np.zeros((1, graphs.vocab), np.float32)
    bias[0, 262] = -np.inf  # it may be forbidden, and is looked at all the same
    mine = graphs.step(graphs.cross(mel), [257, 258, 260, 261], 0, bias)["no_speech"]
    logits = torch.from_numpy(reference.logits(reference.states(mel), [257])[0])
    assert mine == pytest.approx([float(logits.log_softmax(0)[262])], abs=1e-4)


async def test_the_server_hears_with_what_was_built(built: Path) -> None:
    asr = WhisperAsr(built / "model")
    try:
        assert asr.languages == ("en", "fr")
        await asr.warm_up()
        rng = np.random.default_rng(3)
        for language in ("en", "fr", None):  # None: it names the language itself first
            listening = asr.listen(language=language)
            listening.push(rng.standard_normal(16_000).astype(np.float32) * 0.1)
            heard = await listening.transcribe()
            assert "<|" not in heard.text
            listening.close()
    finally:
        await asr.aclose()


def test_a_failed_build_leaves_what_was_there(tmp_path: Path) -> None:
    from engine_build.whisper.build import build_whisper

    good = make_checkpoint(tmp_path / "good", SMALL)
    build_whisper(good, tmp_path / "model", name="first", rebuild="make engines")
    bad = make_checkpoint(tmp_path / "bad", SMALL, begin_suppress_tokens=[220, 50256])
    with pytest.raises(ModelError, match="begin_suppress_tokens"):
        build_whisper(bad, tmp_path / "model", name="second", rebuild="make engines")
    assert check_manifest(tmp_path / "model").id == "first"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bad", "good", "model"]
    config = json.loads((good / "config.json").read_text())
    (good / "config.json").write_text(json.dumps({**config, "model_type": "bart"}))
    with pytest.raises(ModelError, match="not a Whisper"):
        build_whisper(good, tmp_path / "model", name="second", rebuild="make engines")


@pytest.mark.parametrize(("mels", "limit"), [(80, 3e-5), (128, 6e-5)])
def test_the_spectrogram_is_transformers(mels: int, limit: float) -> None:
    from transformers import WhisperFeatureExtractor

    extract = WhisperFeatureExtractor(feature_size=mels)
    rng = np.random.default_rng(0)
    for seconds in (0.5, 3, 10):
        time_s = np.arange(int(seconds * 16_000)) / 16_000
        tone = 0.3 * np.sin(2 * np.pi * (150 + 40 * np.sin(3 * time_s)) * time_s)
        burst = 0.2 * np.sin(2 * np.pi * 1_800 * time_s) * (np.sin(9 * time_s) > 0)
        pcm = (tone + burst + 0.01 * rng.standard_normal(time_s.size)).astype(np.float32)
        whole = np.zeros(480_000, np.float32)
        whole[: pcm.size] = pcm
        wanted = extract(pcm, sampling_rate=16_000, return_tensors="np")["input_features"]
        assert np.abs(log_mel(whole, mels) - wanted).max() < limit
        # And without the 30 s: the frames that are there are the same.
        short = log_mel(whole[: pcm.size + 3_200], mels)
        assert np.abs(short - wanted[:, :, : short.shape[2]]).max() < limit
