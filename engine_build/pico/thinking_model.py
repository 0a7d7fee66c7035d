"""Make the tokenizer and the shape of the thinking model, and write its checkpoint for `transformers`."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import save_file
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import Qwen2Config, Qwen2ForCausalLM

from engine_build.pico.grammar import conversation, tool_conversation, vocabulary
from engine_build.pico.grammar.tools import Schema
from engine_build.pico.grammar.words import ITEMS, LIGHT_COLOURS, LIGHTS, MONTHS, PROPER, ROOMS
from engine_build.pico.vocabulary import widen

REPOSITORY: Final = Path(__file__).resolve().parents[2]
STATE: Final = REPOSITORY / "build/pico/thinking"
CHECKPOINT: Final = REPOSITORY / "onnx_models/pico/checkpoints/thinking"

# Large enough that nearly every word of the domain is one token: to repeat a name is then to copy one thing,
# where 1,024 tokens, which hold one word in five, made "Adna" of Anna and "hread" of bread after 1,000 steps.
WORDS_VOCABULARY: Final = 3328
# 512 more for JSON, schemas and the bare words in it ("kitchen" without its space). Without them three tools
# would cost 892 of the 1,024 tokens, with them 379, and a room or a thing would be spelled out, not copied.
VOCABULARY: Final = 3840
# How often each word is added to the text that the tokens come from, so that rare words are merged whole.
WORD_BOOST: Final = 150
CONTEXT: Final = 1024
SPECIALS: Final = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Tokens of their own, but text: a reply that calls a tool says so in words, as Qwen2.5's do.
CALL_MARKS: Final = ("<tool_call>", "</tool_call>")
ROLE_LINES: Final = ("system\n", "user\n", "assistant\n")

# Qwen2's own pattern: a word keeps its leading space, every digit is a token of its own.
_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

# What Qwen2.5-Instruct's template writes before and after the tools, to the letter.
TOOLS_BEFORE: Final = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n"
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>"
)
TOOLS_AFTER: Final = (
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within "
    "<tool_call></tool_call> XML tags:\n<tool_call>\n"
    '{"name": <function-name>, "arguments": <args-json-object>}\n</tool_call>'
)
# Qwen2.5's template without its default system message: n turns and the generation prompt are an
# exact prefix of n + 1 turns, so the server can keep the cache of a conversation.
CHAT_TEMPLATE: Final = """\
{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages and messages[0].role == 'system' %}
        {{- messages[0].content + '\\n\\n' }}
    {%- endif %}
    {{- BEFORE }}
    {%- for tool in tools %}
        {{- '\\n' }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- AFTER + '<|im_end|>\\n' }}
{%- elif messages and messages[0].role == 'system' %}
    {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
{%- endif %}
{%- for message in messages %}
    {%- if message.role == 'assistant' and message.tool_calls %}
        {{- '<|im_start|>assistant' }}
        {%- if message.content %}
            {{- '\\n' + message.content }}
        {%- endif %}
        {%- for tool_call in message.tool_calls %}
            {%- if tool_call.function is defined %}
                {%- set tool_call = tool_call.function %}
            {%- endif %}
            {{- '\\n<tool_call>\\n{"name": "' + tool_call.name + '", "arguments": ' }}
            {{- tool_call.arguments | tojson }}
            {{- '}\\n</tool_call>' }}
        {%- endfor %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role in ['user', 'assistant'] or (message.role == 'system' and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
    {%- elif message.role == 'tool' %}
        {%- if loop.first or messages[loop.index0 - 1].role != 'tool' %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' + message.content + '\\n</tool_response>' }}
        {%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
{%- endif %}
""".replace("BEFORE", json.dumps(TOOLS_BEFORE)).replace("AFTER", json.dumps(TOOLS_AFTER))


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
        vocab_size=WORDS_VOCABULARY,
        special_tokens=[
            AddedToken(token, special=True, normalized=False) for token in (*SPECIALS, *CALL_MARKS)
        ],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts(), trainer)
    return with_tools(tokenizer)


def with_tools(tokenizer: Tokenizer) -> Tokenizer:
    """Add what tools need: tokens for their texts, and marks of a call that are text."""
    content = json.loads(widen(tokenizer, _tool_texts(), VOCABULARY).to_str())
    for token in content["added_tokens"]:
        token["special"] = token["content"] in SPECIALS
    return Tokenizer.from_str(json.dumps(content))


def _tool_texts() -> Iterator[str]:
    rng = random.Random(8)
    for _ in range(2_000):
        talk = tool_conversation(rng)
        yield TOOLS_BEFORE
        yield TOOLS_AFTER
        yield from [json.dumps(tool) for tool in talk.tools]
        for exchange in talk.exchanges:
            if exchange.call is not None:
                yield exchange.call.text()
                yield tool_response(exchange.result)
    # In JSON the first word of a value has no space before it.
    for value in (*ROOMS, *LIGHTS, *LIGHT_COLOURS, *ITEMS):
        yield from [value.split()[0]] * WORD_BOOST


def tool_response(result: str) -> str:
    """Write what a tool answered as the template does; it stands in a user's turn."""
    return f"<tool_response>\n{result}\n</tool_response>"


def tools_text(tools: Sequence[Schema], system: str | None) -> str | None:
    """Write the system message as the template does."""
    if not tools:
        return system
    written = "".join(f"\n{json.dumps(tool, ensure_ascii=False)}" for tool in tools)
    return (f"{system}\n\n" if system is not None else "") + TOOLS_BEFORE + written + TOOLS_AFTER


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
                    "single_word": False, "special": token in SPECIALS,
                }
                for token in (*SPECIALS, *CALL_MARKS)
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


def grow(model: Qwen2ForCausalLM, before: Tokenizer, after: Tokenizer) -> Qwen2ForCausalLM:
    """Copy a model for a wider vocabulary.

    A new token begins as the same word with a space before it, or as the mean of its pieces.
    """
    grown = Qwen2ForCausalLM(model_config(after))
    weights = model.state_dict()
    old = weights["model.embed_tokens.weight"]
    new = grown.state_dict()["model.embed_tokens.weight"].clone()
    new[: len(old)] = old
    known = before.get_vocab()
    for number in range(len(old), len(new)):
        token = after.id_to_token(number)
        spaced = known.get(f"Ġ{token}")
        pieces = (
            [spaced] if spaced is not None else [known[each.value] for each in before.model.tokenize(token)]
        )
        # A little noise, so that a word with and without its space can part.
        new[number] = old[pieces].mean(0) + 0.1 * old.std() * torch.randn(old.shape[1])
    weights["model.embed_tokens.weight"] = weights["lm_head.weight"] = new
    grown.load_state_dict(weights)
    return grown


def load_checkpoint(folder: Path) -> tuple[Qwen2ForCausalLM, Tokenizer]:
    """Load a checkpoint for use on a CPU, in fp32 (the values are the fp16 ones)."""
    model = Qwen2ForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model.eval()
    return model, Tokenizer.from_file(str(folder / "tokenizer.json"))


def load_grown(folder: Path) -> tuple[Qwen2ForCausalLM, Tokenizer]:
    """Load a checkpoint to train it further; one from before tools gets their tokens."""
    model, tokenizer = load_checkpoint(folder)
    if tokenizer.get_vocab_size() == VOCABULARY:
        return model, tokenizer
    grown = with_tools(tokenizer)
    return grow(model, tokenizer, grown), grown


def _write(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2, sort_keys=True, default=str) + "\n")
