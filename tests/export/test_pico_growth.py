"""A checkpoint that gets more tokens says the same with those it had. Needs `make test-build`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

torch = pytest.importorskip("torch", reason="training needs torch: run `make test-build`")
pytest.importorskip("transformers", reason="training needs transformers: run `make test-build`")

pytestmark = [
    pytest.mark.build,
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning"),
]

CHECKPOINT = Path(__file__).parents[2] / "onnx_models" / "pico" / "checkpoints" / "thinking"


def narrowed(tokenizer: Tokenizer, size: int) -> Tokenizer:
    """Take the newest tokens away again, and the merges that make them."""
    content = json.loads(tokenizer.to_str())
    kept = {token: number for token, number in content["model"]["vocab"].items() if number < size}
    content["model"]["vocab"] = kept
    content["model"]["merges"] = [
        pair for pair in content["model"]["merges"] if "".join(pair) in kept and set(pair) <= set(kept)
    ]
    return Tokenizer.from_str(json.dumps(content))


def test_old_tokens_mean_what_they_meant_and_new_ones_begin_like_their_words() -> None:
    from transformers import Qwen2ForCausalLM

    from engine_build.pico.thinking_model import WORDS_VOCABULARY, grow, model_config

    wide = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    narrow = narrowed(wide, WORDS_VOCABULARY)
    config = model_config(narrow)
    config.vocab_size = WORDS_VOCABULARY
    torch.manual_seed(2)
    model = Qwen2ForCausalLM(config).eval()
    grown = grow(model, narrow, wide).eval()
    ids = torch.tensor([narrow.encode("turn on the light").ids])
    with torch.inference_mode():
        before, after = model(ids).logits, grown(ids).logits
    assert torch.equal(before, after[..., :WORDS_VOCABULARY])
    table = grown.get_input_embeddings().weight
    assert table is grown.get_output_embeddings().weight
    word, spaced = wide.token_to_id("kitchen"), wide.token_to_id("Ġkitchen")
    assert word >= WORDS_VOCABULARY > spaced
    alike = torch.cosine_similarity(table[word], table[spaced], dim=0)
    assert alike > 0.9


def test_training_begins_with_a_checkpoint_and_carries_on_from_its_state(tmp_path: Path) -> None:
    from engine_build.pico.train_thinking import WARM_PEAK, Trainer

    begun = Trainer(tmp_path, True, CHECKPOINT)
    tokens, weights = next(begun.batches())
    begun.learn(tokens[:1], weights[:1], 100)
    begun.save()
    resumed = Trainer(tmp_path, False)
    assert (resumed.step, resumed.peak) == (1, WARM_PEAK)
    assert all(
        torch.equal(old, new)
        for old, new in zip(begun.model.parameters(), resumed.model.parameters(), strict=True)
    )
