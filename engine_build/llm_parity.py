"""Does the built graph say what transformers says with the same weights?

The graph is run as the server runs it (riposte.backends.llm_graph), its prompts are made by the
server's chat format: what is compared is what is served.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riposte.backends.chat_template import ChatFormat
from riposte.backends.llm_graph import Graph, read_graph_config
from riposte.errors import ModelError
from riposte.interfaces import Message

Floats = NDArray[np.float32]

_TOKENS = 64
_MAX_LOGIT_ERROR = 1e-4

# Of one and of many turns, with and without instructions. What they say does not matter.
CONVERSATIONS: tuple[tuple[Message, ...], ...] = (
    (Message("user", "hello"),),
    (Message("user", "please turn on the light in the kitchen"),),
    (
        Message("system", "You are a friendly assistant who answers in one short sentence."),
        Message("user", "my name is Anna"),
        Message("assistant", "Nice to meet you, Anna."),
        Message("user", "what is my name?"),
    ),
    (
        Message("user", "put milk and bread on my shopping list"),
        Message("assistant", "Milk and bread are on your list."),
        Message("user", "set a timer for ten minutes"),
        Message("assistant", "The timer is set for ten minutes."),
        Message("user", "what is seven plus eight?"),
        Message("assistant", "Seven plus eight is fifteen."),
        Message("user", "Grüße! Was steht auf der Liste? 日本語 🙂"),
    ),
)


@dataclass(frozen=True)
class Step:
    """One token of a greedy reply: transformers' logits and the graph's, float32[V], on the same tokens.

    The tokens are the best but those that end a reply: otherwise most of what is compared would be the
    end, over and over.
    """

    prompt: int  # which conversation
    prompt_ids: tuple[int, ...]
    expected: Floats
    served: Floats
    expected_token: int
    served_token: int


@dataclass(frozen=True)
class Parity:
    """What was compared. `logit_error` is relative: the largest difference by the largest logit."""

    prompt_tokens: tuple[int, ...]
    tokens: int
    tokens_equal: int
    logit_error: float
    cosine: float  # the smallest

    def require(self) -> None:
        """Raise ModelError unless all tokens are equal and the logits near enough."""
        if self.tokens_equal != self.tokens or not self.logit_error <= _MAX_LOGIT_ERROR:
            raise ModelError(
                f"the graph differs from its checkpoint: {self.tokens_equal} of {self.tokens} greedy tokens"
                f" are equal, logits differ by {self.logit_error:.1e} (at most {_MAX_LOGIT_ERROR:.0e})"
            )


def check_parity(checkpoint: Path, folder: Path) -> Parity:
    """Compare greedy replies of 64 tokens to four conversations, not stopping at their ends.

    Raises ModelError when the chat format differs from transformers'.
    """
    lengths: dict[int, int] = {}
    tokens = equal = 0
    error, cosine = 0.0, 1.0
    for step in compare(checkpoint, folder):
        lengths[step.prompt] = len(step.prompt_ids)
        tokens += 1
        equal += step.expected_token == step.served_token
        scale = float(np.abs(step.expected).max())
        error = max(error, float(np.abs(step.expected - step.served).max()) / scale)
        norms = float(np.linalg.norm(step.expected) * np.linalg.norm(step.served))
        cosine = min(cosine, float(step.expected @ step.served) / norms)
    return Parity(tuple(lengths.values()), tokens, equal, error, cosine)


def compare(checkpoint: Path, folder: Path) -> Iterator[Step]:
    """Yield every step of the greedy replies. Both models are fed transformers' tokens."""
    import torch
    from transformers import AutoModelForCausalLM

    chat = ChatFormat(folder)
    _check_chat_format(checkpoint, chat)
    model: Any = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32).eval()
    config = read_graph_config(folder)
    longest = max(len(chat.encode(messages)) for messages in CONVERSATIONS) + _TOKENS
    graph = Graph(folder, config, rows=1, context_tokens=min(longest, config.context_tokens), threads=1)
    for number, messages in enumerate(CONVERSATIONS):
        prompt = chat.encode(messages)
        ids, length = prompt[None], 0
        cache: Any = None
        for _ in range(min(_TOKENS, graph.context_tokens - len(prompt))):
            with torch.no_grad():
                out = model(torch.from_numpy(ids), past_key_values=cache, use_cache=True)
            cache = out.past_key_values
            expected: Floats = out.logits[0, -1].float().numpy()
            served = graph.forward(0, 1, ids, np.array([length]))[0].astype(np.float32)
            token, other = (best_token(logits, config.end_ids) for logits in (expected, served))
            yield Step(number, tuple(prompt.tolist()), expected, served, token, other)
            length += ids.shape[1]
            ids = np.array([[token]], np.int64)


def best_token(logits: Floats, end_ids: Collection[int]) -> int:
    """Return the best token that ends no reply."""
    allowed = logits.copy()
    allowed[list(end_ids)] = -np.inf
    return int(np.argmax(allowed))


def _check_chat_format(checkpoint: Path, chat: ChatFormat) -> None:
    from transformers import PreTrainedTokenizerFast

    # This class takes tokenizer.json as it is; the one that AutoTokenizer picks may rebuild it.
    reference: Any = PreTrainedTokenizerFast.from_pretrained(checkpoint)
    for messages in CONVERSATIONS:
        plain = [{"role": message.role, "content": message.content} for message in messages]
        text = reference.apply_chat_template(plain, tokenize=False, add_generation_prompt=True)
        ids = reference(text, add_special_tokens=False)["input_ids"]
        if text != chat.render(messages) or ids != chat.encode(messages).tolist():
            raise ModelError("the server's prompts differ from transformers' for the same conversation")
