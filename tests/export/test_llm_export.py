"""A checkpoint becomes a graph that answers as transformers does. Needs `make test-build`."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from riposte.backends.chat_template import ChatFormat
from riposte.backends.llm_graph import read_graph_config
from riposte.errors import ModelError
from riposte.interfaces import Message, ToolUse
from riposte.manifest import check_manifest

torch = pytest.importorskip("torch", reason="building needs torch: run `make test-build`")
pytest.importorskip("onnxruntime_genai", reason="building needs onnxruntime-genai: run `make test-build`")

pytestmark = [
    pytest.mark.build,
    # torch, transformers and the exporters warn of themselves.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

PICO = Path(__file__).parents[2] / "onnx_models" / "pico"
TEMPLATE = (
    "{% for message in messages %}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n"
    "{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a random Qwen2 of 0.3 M parameters, rounded to fp16, with a tokenizer that is not Qwen2's."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

    folder = tmp_path_factory.mktemp("checkpoint")
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({char: n for n, char in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>"])
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>")
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(1)
    config = Qwen2Config(
        vocab_size=260,
        hidden_size=96,
        num_hidden_layers=3,
        num_attention_heads=6,
        num_key_value_heads=2,
        intermediate_size=192,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        eos_token_id=257,
        bos_token_id=None,
        initializer_range=0.1,
    )
    model = Qwen2ForCausalLM(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight.copy_(weight.half().float())
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def built(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from engine_build.llm_onnx import build_llm

    out = tmp_path_factory.mktemp("models") / "thinking"
    out.mkdir()  # as `make engines` calls it
    build_llm(checkpoint, out, name="toy", rebuild="make engines PROFILE=toy")
    return out


def test_manifest_fits_what_was_built(checkpoint: Path, built: Path) -> None:
    manifest = check_manifest(built)
    assert (manifest.id, manifest.kind, manifest.architecture) == ("toy", "llm", "qwen2")
    assert manifest.source.sha256
    assert not (built / "model.onnx.data").exists()
    assert sorted(path.name for path in built.iterdir() if path.name != "manifest.json") == [
        file.name for file in manifest.files
    ]
    assert [path.name for path in built.parent.iterdir()] == ["thinking"]


def test_graph_answers_as_transformers_does(checkpoint: Path, built: Path) -> None:
    from engine_build.llm_parity import check_parity

    parity = check_parity(checkpoint, built)
    parity.require()
    assert parity.tokens == parity.tokens_equal == 256
    assert len(set(parity.prompt_tokens)) == 4
    assert parity.logit_error < 1e-4
    with pytest.raises(ModelError, match="255 of 256"):
        replace(parity, tokens_equal=255).require()
    with pytest.raises(ModelError, match="differ"):
        replace(parity, logit_error=float("nan")).require()


def test_weights_that_fp16_holds_take_half_the_space(checkpoint: Path, built: Path) -> None:
    assert check_manifest(built).built["halved_weights"] > 10
    assert (built / "model.onnx").stat().st_size < 0.75 * (checkpoint / "model.safetensors").stat().st_size


def test_tokenizer_is_the_checkpoints_own(checkpoint: Path, built: Path) -> None:
    # transformers 5 would have given it Qwen2's splitting rule and normaliser.
    assert (built / "tokenizer.json").read_bytes() == (checkpoint / "tokenizer.json").read_bytes()
    assert ChatFormat(built).special == {"<|im_start|>": 256, "<|im_end|>": 257}
    assert read_graph_config(built).end_ids == {257}


def test_tools_render_as_transformers_renders_them() -> None:
    from transformers import AutoTokenizer

    folder = PICO / "thinking"
    use = ToolUse("c1", "set_light", '{"room":"café","on":true,"level":0.5}')
    tool = {
        "type": "function",
        "function": {"name": "set_light", "description": 'é <b> "q"', "parameters": {"type": "object"}},
    }
    talk = [
        Message("system", "Be brief."),
        Message("user", "lights on"),
        Message("assistant", "Okay.", (use, use)),
        Message("tool", "done"),
        Message("tool", '{"ok": true}'),
        Message("assistant", "They are on."),
        Message("user", "thank you"),
    ]
    plain: list[dict[str, Any]] = [{"role": one.role, "content": one.content} for one in talk]
    function = {"name": use.name, "arguments": json.loads(use.arguments)}
    plain[2]["tool_calls"] = [{"id": "c1", "type": "function", "function": function}] * 2
    reference: Any = AutoTokenizer.from_pretrained(folder)
    for tools in ([], [tool]):
        expected = reference.apply_chat_template(
            plain, tools=tools or None, tokenize=False, add_generation_prompt=True
        )
        assert ChatFormat(folder).render(talk, tools) == expected


def test_reference_names_its_weights(checkpoint: Path, built: Path, tmp_path: Path) -> None:
    from engine_build.reference import write_reference

    write_reference(checkpoint, built, tmp_path / "toy.json")
    stored = json.loads((tmp_path / "toy.json").read_text())
    assert stored["weights_sha256"] == check_manifest(built).source.sha256
    assert [len(case["greedy"]) for case in stored["cases"]] == [64] * 4


def test_failed_build_leaves_what_was_there(checkpoint: Path, built: Path, tmp_path: Path) -> None:
    from engine_build.llm_onnx import build_llm

    before = (built / "manifest.json").read_bytes()
    with pytest.raises(ModelError, match="missing"):
        build_llm(tmp_path, built, name="toy", rebuild="-")
    (tmp_path / "config.json").write_text('{"model_type": "no such"}')
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(ModelError, match="cannot export"):
        build_llm(tmp_path, built, name="toy", rebuild="-")
    assert (built / "manifest.json").read_bytes() == before
    with pytest.raises(ModelError, match="no built model"):
        build_llm(checkpoint, checkpoint, name="toy", rebuild="-")
