"""Make the tokenizer and the shape of the thinking model, and write its checkpoint for `transformers`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

from engine_build.pico.grammar import conversation, vocabulary
from engine_build.pico.grammar.words import MONTHS, PROPER

REPOSITORY: Final = Path(__file__).resolve().parents[2]
STATE: Final = REPOSITORY / "build/pico/thinking"
CHECKPOINT: Final = REPOSITORY / "onnx_models/pico/checkpoints/thinking"

# Large enough that nearly every word of the domain is one token: to repeat a name is then to copy one thing,
# where 1,024 tokens, which hold one word in five, made "Adna" of Anna and "hread" of bread after 1,000 steps.
VOCABULARY: Final = 3328
# How often each word is added to the text that the tokens come from, so that rare words are merged whole.
WORD_BOOST: Final = 150
CONTEXT: Final = 1024
SPECIALS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")
ROLE_LINES: Final = ("system\n", "user\n", "assistant\n")

# Qwen2's own pattern: a word keeps its leading space, every digit is a token of its own.
_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# Qwen2.5's template without its default system message: n turns and the generation prompt are an
# exact prefix of n + 1 turns, so the server can keep the cache of a conversation.
CHAT_TEMPLATE: Final = """\
{%- for message in messages %}
    {%- if message.role in ['system', 'user', 'assistant'] %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
"""


def train_tokenizer(conversations: int = 8_000) -> Tokenizer:
    """Train the byte-level BPE on conversations of the grammar, always the same ones."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()

    def texts() -> Iterator[str]:
        rng = random.Random(7)
        for _ in range(conversations):
            for exchange in conversation(rng).exchanges:
                yield exchange.user
                yield exchange.reply
            yield rng.choice(ROLE_LINES)
        for word in vocabulary():
            yield from [f" {word}"] * WORD_BOOST
            if word in PROPER or word in MONTHS:
                yield from [f" {word.capitalize()}"] * WORD_BOOST

    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[AddedToken(token, special=True, normalized=False) for token in SPECIALS],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return tokenizer


def model_config(tokenizer: Tokenizer) -> Qwen2Config:
    """Describe the model: 5 layers of 192, 6 heads with 2 for keys and values."""
    return Qwen2Config(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=5,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id("<|endoftext|>"),
        eos_token_id=tokenizer.token_to_id("<|im_end|>"),
        pad_token_id=tokenizer.token_to_id("<|endoftext|>"),
        initializer_range=0.02,
        attn_implementation="sdpa",
    )


def save_checkpoint(model: Qwen2ForCausalLM, tokenizer: Tokenizer, folder: Path) -> None:
    """Write weights rounded to fp16, config, tokenizer and template: what is served is what was judged."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    _write(
        folder / "tokenizer_config.json",
        {
            "tokenizer_class": "Qwen2Tokenizer",
            "model_max_length": CONTEXT,
            "add_prefix_space": False,
            "add_bos_token": False,
            "bos_token": None,
            "eos_token": "<|im_end|>",
            "pad_token": "<|endoftext|>",
            "unk_token": None,
            "errors": "replace",
            "split_special_tokens": False,
            "clean_up_tokenization_spaces": False,
            "additional_special_tokens": list(SPECIALS[1:]),
            "added_tokens_decoder": {
                str(tokenizer.token_to_id(token)): {
                    "content": token, "lstrip": False, "normalized": False, "rstrip": False,
                    "single_word": False, "special": True,
                }
                for token in SPECIALS
            },
            "chat_template": CHAT_TEMPLATE,
        },
    )  # fmt: skip
    config = model.config.to_dict()
    config.pop("torch_dtype", None)
    config.update(architectures=["Qwen2ForCausalLM"], dtype="float16")
    _write(folder / "config.json", config)
    _write(
        folder / "generation_config.json",
        {
            "bos_token_id": config["bos_token_id"],
            "eos_token_id": config["eos_token_id"],
            "pad_token_id": config["pad_token_id"],
            "do_sample": False,
            "max_new_tokens": 96,
        },
    )
    # The output embedding is the input embedding: stored once.
    weights = {
        name: value.detach().to(torch.float16).contiguous()
        for name, value in model.state_dict().items()
        if name != "lm_head.weight"
    }
    part = folder / "model.safetensors.part"
    save_file(weights, str(part), metadata={"format": "pt"})
    # Whole or not at all: others read this folder while training goes on.
    part.chmod(0o644)
    part.replace(folder / "model.safetensors")


def load_checkpoint(folder: Path) -> tuple[Qwen2ForCausalLM, Tokenizer]:
    """Load a checkpoint for use on a CPU, in fp32 (the values are the fp16 ones)."""
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
