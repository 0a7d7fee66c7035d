"""One request to the language model: what the scheduler's thread and the event loop share of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from riposte.backends.detok import Detokenizer, StopStrings
from riposte.backends.sampler import Sampler
from riposte.errors import EngineError
from riposte.interfaces import LlmUsage, Piece, Priority, Sampling

if TYPE_CHECKING:
    from riposte.backends.llm_cache import Slot


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """What a reply must know of its model: the bytes of each token, and which tokens end a reply."""

    pieces: Sequence[bytes]
    end_ids: frozenset[int]


# With so many a reply has its first clause: eight words at the most, and a mark or two.
_FIRST_CLAUSE_TOKENS = 12


class Reply:
    """A reply while it is made: logits in, pieces out. `next_token` is what the model is fed next.

    `limit` is the most tokens it may have, at least 1. Used in the scheduler's thread.
    """

    def __init__(
        self, vocabulary: Vocabulary, sampling: Sampling, prompt: NDArray[np.int64], limit: int
    ) -> None:
        self.next_token = 0
        self.cached_tokens = 0
        self._end_ids = vocabulary.end_ids
        self._sampler = Sampler(sampling, prompt)
        self._text = Detokenizer(vocabulary.pieces)
        self._stops = StopStrings(sampling.stop)
        self._prompt_tokens = len(prompt)
        self._limit = limit
        self.made = 0  # tokens
        self._unsent: list[int] = []

    def take(self, logits: NDArray[np.floating]) -> Piece | None:
        """Choose a token and return what of the text is ready, or None. After a piece with `finish`: no more.

        The token that ends a reply is neither counted nor among `token_ids`; bytes of a character that
        the end cuts off are dropped. Raises FloatingPointError for logits that are not finite.
        """
        token = self._sampler.choose(logits)
        if token in self._end_ids:
            return self._piece(self._stops.rest(), "stop")
        self.next_token = token
        self.made += 1
        self._unsent.append(token)
        text = self._stops.push(self._text.push(token))
        if self._stops.found:
            return self._piece(text, "stop")
        if self.made >= self._limit:
            return self._piece(text + self._stops.rest(), "length")
        return self._piece(text) if text else None

    def _piece(self, text: str, finish: Any = None) -> Piece:
        ids, self._unsent = tuple(self._unsent), []
        usage = LlmUsage(self._prompt_tokens, self.cached_tokens, self.made) if finish else None
        return Piece(text, ids, finish=finish, usage=usage)


class Job:
    """A prompt to bring into the cache, and a reply to make then. `reply` None: a hint, nothing more.

    A hint with a `watched` token says at its end, in `chance`, how probable that token is behind the prompt;
    None there: it was given up. Made on the loop that takes from it. `slot` and `reply` belong to the
    scheduler's thread, which sets `chance` before it pushes the end.
    """

    def __init__(
        self,
        key: str,
        prompt: NDArray[np.int64],
        priority: Priority,
        reply: Reply | None = None,
        *,
        watched: int | None = None,
    ) -> None:
        self.key = key
        self.prompt = prompt
        self.priority = priority
        self.reply = reply
        self.watched = watched
        self.chance: float | None = None
        self.slot: Slot | None = None
        self.rank: tuple[int, int] = (int(priority), 0)  # then its arrival, which the scheduler fills in
        self.stepped_s = 0.0  # when its reply had its last token
        self._loop = asyncio.get_running_loop()
        # Never waits to be emptied, and is bounded all the same: by the reply's token limit.
        self._pieces: asyncio.Queue[Piece | EngineError | None] = asyncio.Queue()

    @property
    def gives_way(self) -> bool:
        """Tell whether nobody waits for it: a hint that is not urgent."""
        return self.reply is None and self.priority is Priority.AHEAD

    @property
    def awaited(self) -> bool:
        """Tell whether somebody waits in silence: for a reply's first clause."""
        first = self.priority is Priority.FIRST
        return first and self.reply is not None and self.reply.made < _FIRST_CLAUSE_TOKENS

    def push(self, item: Piece | EngineError | None) -> bool:
        """Hand over a piece, an error, or a hint's end, from the thread. False: the loop is gone."""
        try:
            self._loop.call_soon_threadsafe(self._pieces.put_nowait, item)
        except RuntimeError:
            return False
        return True

    async def next(self) -> Piece | None:
        """Return the next piece, None at a hint's end. Raises EngineError when the model failed."""
        item = await self._pieces.get()
        if isinstance(item, EngineError):
            raise item
        return item
