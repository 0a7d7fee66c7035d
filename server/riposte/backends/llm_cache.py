"""Which conversation's tokens lie in which row of the cache, and which row goes next.

Only book-keeping: the keys and values themselves are llm_graph's. The first `running` rows are those
that decode, always without a gap, so that a step is one batch of consecutive rows; behind them come
rows that are being filled, idle ones, empty ones. Used in the scheduler's thread alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from riposte.backends.llm_job import Job

Ids = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Slot:
    """One row. Its first `length` `tokens` are in the cache, and nothing else is."""

    row: int
    tokens: Ids  # int64[context]
    length: int = 0
    key: str | None = None  # None: empty
    job: Job | None = None  # who fills or decodes it now; None: idle
    used: int = 0  # when it was last taken; the smallest is the longest idle
    # Logits after the last token, float32[V], while they are known: after a prefill, until anything is
    # appended or rewound. The same prompt then needs no step of the model at all.
    logits: NDArray[np.floating] | None = None

    def common(self, prompt: Ids) -> int:
        """Return how many tokens at the beginning the cache and the prompt share."""
        count = min(self.length, len(prompt))
        same = self.tokens[:count] == prompt[:count]
        return count if same.all() else int(np.argmin(same))

    def append(self, ids: Ids) -> None:
        """Note tokens that the graph has just appended."""
        self.tokens[self.length : self.length + len(ids)] = ids
        self.length += len(ids)
        self.logits = None

    def rewind(self, length: int) -> None:
        """Forget all tokens after the first `length`. What follows must append at least one."""
        if length < self.length:
            self.length = length
            self.logits = None

    def clear(self) -> None:
        """Empty the row; its old tokens are overwritten, not only forgotten."""
        self.tokens[: self.length] = 0
        self.length = 0
        self.key = None
        self.logits = None


class SlotTable:
    """All rows. `swap_rows(first, second, tokens)` moves the keys and values when rows change places."""

    def __init__(self, rows: int, context_tokens: int, swap_rows: Callable[[int, int, int], None]) -> None:
        self.slots = [Slot(row, np.zeros(context_tokens, np.int64)) for row in range(rows)]
        self.running = 0
        self._swap_rows = swap_rows
        self._clock = 0

    def by_key(self, key: str) -> Slot | None:
        """Return the conversation's row, idle or busy."""
        return next((slot for slot in self.slots if slot.key == key), None)

    def try_take(self, key: str) -> Slot | None:
        """Return a row for a conversation that has none: an empty one, else the longest idle one, emptied."""
        idle = [slot for slot in self.slots if slot.job is None]
        if not idle:
            return None
        slot = min(idle, key=lambda slot: (slot.key is not None, slot.used))
        slot.clear()
        slot.key = key
        return slot

    def hold(self, slot: Slot, job: Job) -> None:
        """Give a row to a job."""
        self._clock += 1
        slot.used = self._clock
        slot.job = job

    def start(self, slot: Slot) -> None:
        """Move a filled row behind the running ones, and count it among them."""
        self._swap(slot, self.slots[self.running])
        self.running += 1

    def release(self, slot: Slot) -> None:
        """Take a row from its job. What it caches stays for the conversation's next prompt."""
        slot.job = None
        if slot.row < self.running:
            self.running -= 1
            self._swap(slot, self.slots[self.running])

    def lengths(self) -> Ids:
        """Return how many tokens each running row holds, int64[running]."""
        return np.array([slot.length for slot in self.slots[: self.running]], np.int64)

    def _swap(self, one: Slot, other: Slot) -> None:
        if one is other:
            return
        self._swap_rows(one.row, other.row, max(one.length, other.length))
        one.row, other.row = other.row, one.row
        self.slots[one.row], self.slots[other.row] = one, other
