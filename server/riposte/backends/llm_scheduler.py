"""The language model's thread: who is in the batch, and what its next step is.

A round: take in what happened, give rows to who waits, append one chunk of the most urgent prompt, make
one token for every reply in progress. A prompt so joins replies that are under way, and delays them
by one chunk at most. While somebody waits in silence, replies that are well begun stand aside.
Between rounds with nothing to do the thread sleeps on a condition.
"""

from __future__ import annotations

import bisect
import concurrent.futures
import contextlib
import itertools
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from riposte.backends.llm_cache import Slot, SlotTable
from riposte.backends.llm_graph import Graph, run_options
from riposte.backends.llm_job import Job
from riposte.errors import EngineError
from riposte.interfaces import Priority

_log = logging.getLogger(__name__)

# Prompt tokens appended in one call: with nobody in the middle of a reply; beside replies, which wait
# meanwhile; and for a hint beside replies, for which nobody waits.
_CHUNK_ALONE = 128
_CHUNK_BESIDE = 64
_CHUNK_HINT = 32
# So much time may pass between two tokens of a reply that is well begun, for the sake of one that is not:
# it is then still more than twice as fast as it is spoken.
_ASIDE_S = 0.1


class Scheduler:
    """Runs a graph for many conversations in one thread, started by the first job.

    Everything public may be called from any thread and returns at once. `submit` raises EngineError
    after `close`; every job that was accepted gets its pieces, or one EngineError.
    """

    def __init__(self, graph: Graph, name: str) -> None:
        self._graph = graph
        self._name = name
        # The thread's own
        self._table = SlotTable(graph.rows, graph.context_tokens, graph.swap)
        self._waiting: list[Job] = []  # in the order of their ranks
        self._filling: list[Job] = []  # have a row that lacks a part of their prompt
        self._arrivals = itertools.count()
        # Guarded by the condition
        self._changed = threading.Condition()
        self._inbox: deque[Callable[[], None]] = deque()
        self._flight: tuple[Job, Any] | None = None  # the prompt being appended now, and its RunOptions
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def alive(self) -> bool:
        """Tell whether it still takes jobs: not once it was closed, nor after a failure of its own."""
        return not self._closing

    def submit(self, job: Job) -> None:
        """Accept a job. One that somebody waits for stops another conversation's hint in flight."""
        with self._changed:
            self._post(partial(self._accept, job))
            if self._flight is not None and job.priority < Priority.AHEAD:
                other, run = self._flight
                if other.gives_way and other.key != job.key:
                    run.terminate = True  # its chunk is appended again later

    def cancel(self, job: Job) -> None:
        """Give a job up, within one step; a prompt being appended is stopped in the middle."""
        with self._changed:
            if self._closing:
                return
            self._post(partial(self._end, job))
            if self._flight is not None and self._flight[0] is job:
                self._flight[1].terminate = True

    def forget(self, key: str) -> None:
        """Drop what is cached for a conversation; a reply in progress ends undisturbed."""
        with self._changed:
            if not self._closing:
                self._post(partial(self._forget, key))

    def warm_up(self) -> concurrent.futures.Future[None]:
        """Run every batch size and chunk size once; conversations in the cache are not harmed."""
        done: concurrent.futures.Future[None] = concurrent.futures.Future()
        with self._changed:
            self._post(partial(self._warm_up, done))
        return done

    def close(self) -> threading.Thread | None:
        """End the thread after the step in flight and return it, to be joined. Open jobs get EngineError."""
        with self._changed:
            self._closing = True
            if self._flight is not None:
                self._flight[1].terminate = True
            self._changed.notify()
            return self._thread

    def _post(self, action: Callable[[], None]) -> None:
        # The condition is held.
        if self._closing:
            raise self._gone()
        self._inbox.append(action)
        if self._thread is None:
            # A daemon: a process whose model nobody closed must still be able to end.
            self._thread = threading.Thread(target=self._main, name=self._name, daemon=True)
            self._thread.start()
        self._changed.notify()

    # In the thread

    def _main(self) -> None:
        # The model's own failures are met where it runs: what is caught here is a mistake of ours. A thread
        # that died unseen would leave everybody waiting.
        try:
            while self._take_in():
                try:
                    self._admit()
                    self._fill()
                    self._decode()
                except Exception as exc:
                    _log.critical("%s: the scheduler failed", self._name, exc_info=True)
                    self._fail(self._open(), exc)
        except BaseException:
            _log.critical("%s: the scheduler's thread ends", self._name, exc_info=True)
            with self._changed:
                self._closing = True
            with contextlib.suppress(Exception):
                self._take_in()  # who came meanwhile is told too
        for job in self._open():
            self._end(job)
            job.push(self._gone())

    def _take_in(self) -> bool:
        """Wait for something to do and carry out what was posted. False: the end."""
        with self._changed:
            # Who waits for a row is no reason to sleep: if none is in use now, one has just become free.
            while not (self._closing or self._inbox or self._waiting or self._filling or self._table.running):
                self._changed.wait()
            actions, self._inbox = self._inbox, deque()
            closing = self._closing
        for action in actions:  # also at the end: a job in the inbox must be seen to be refused
            action()
        return not closing

    def _accept(self, job: Job) -> None:
        job.rank = (int(job.priority), next(self._arrivals))
        bisect.insort(self._waiting, job, key=lambda job: job.rank)

    def _admit(self) -> None:
        """Give rows to waiting jobs, the most urgent first. A hint that finds no row is dropped."""
        for job in list(self._waiting):
            slot = self._place(job)
            if slot is not None:
                self._waiting.remove(job)
                self._begin(job, slot)
            elif job.reply is None:
                self._waiting.remove(job)
                job.push(None)

    def _place(self, job: Job) -> Slot | None:
        slot = self._table.by_key(job.key)
        if slot is None:
            slot = self._table.try_take(job.key)
            if slot is None and not job.gives_way and (hint := self._hint()) is not None:
                self._drop(hint)
                slot = self._table.try_take(job.key)
            return slot
        if slot.job is None:
            return slot
        if slot.job.reply is None:  # a newer prompt knows better than the hint
            self._drop(slot.job)
            return slot
        return None  # the conversation's last stream is still open: this one follows it

    def _begin(self, job: Job, slot: Slot) -> None:
        job.slot = slot
        self._table.hold(slot, job)
        common = slot.common(job.prompt)
        if common == len(job.prompt) == slot.length and slot.logits is not None:
            self._note_cached(job, common)
            self._filled(job, slot, slot.logits)
            return
        # The logits after the prompt are needed, so its last token is appended even if it is cached.
        common = min(common, len(job.prompt) - 1)
        slot.rewind(common)
        self._note_cached(job, common)
        self._filling.append(job)

    def _fill(self) -> None:
        """Append one chunk of the most urgent prompt."""
        if not self._filling:
            return
        job = min(self._filling, key=lambda job: job.rank)
        slot = job.slot
        assert slot is not None
        chunk = job.prompt[slot.length : slot.length + self._chunk_size(job)]
        run = run_options()
        with self._changed:
            self._flight = (job, run)
        try:
            past = np.array([slot.length], np.int64)
            logits = self._graph.forward(slot.row, slot.row + 1, chunk[None], past, run)
        except Exception as exc:
            if not run.terminate:
                self._fail([job], exc)
            return  # stopped: the row is what it was
        finally:
            with self._changed:
                self._flight = None
        slot.append(chunk)
        if slot.length == len(job.prompt):
            self._filling.remove(job)
            self._filled(job, slot, logits[0])

    def _chunk_size(self, job: Job) -> int:
        if not self._table.running:
            return _CHUNK_ALONE
        return _CHUNK_HINT if job.gives_way else _CHUNK_BESIDE

    def _filled(self, job: Job, slot: Slot, logits: NDArray[np.floating]) -> None:
        if job.reply is None:
            slot.logits = logits.astype(np.float32)
            if job.watched is not None:
                job.chance = _chance(slot.logits, job.watched)
            self._drop(job)
            return
        self._table.start(slot)
        self._advance(job, logits)

    def _decode(self) -> None:
        """Make one token for every running reply, but for those that stand aside, as one batch."""
        count = self._table.running
        low = self._first_row()
        slots = self._table.slots[low:count]
        jobs = [slot.job for slot in slots if slot.job is not None]
        if not jobs:
            return
        ids = np.array([[job.reply.next_token] for job in jobs if job.reply is not None], np.int64)
        try:
            logits = self._graph.forward(low, count, ids, self._table.lengths()[low:])
        except Exception as exc:
            self._fail(jobs, exc)
            return
        now = time.monotonic()
        for slot, row in zip(slots, ids, strict=True):
            slot.append(row)
        for job, row_logits in zip(jobs, logits, strict=True):
            job.stepped_s = now
            self._advance(job, row_logits)

    def _first_row(self) -> int:
        """Return the row from which on replies get a token in this round.

        The youngest replies are in the last rows, mostly: a step of those alone is a fraction of one of all.
        """
        slots = self._table.slots[: self._table.running]
        jobs = [(slot.row, slot.job) for slot in slots if slot.job is not None and slot.job.reply is not None]
        silent = [row for row, job in jobs if job.awaited]
        if not silent and not any(job.priority is Priority.FIRST for job in self._filling):
            return 0
        now = time.monotonic()
        due = [row for row, job in jobs if now - job.stepped_s >= _ASIDE_S]
        return min([*silent, *due], default=self._table.running)

    def _advance(self, job: Job, logits: NDArray[np.floating]) -> None:
        assert job.reply is not None
        try:
            piece = job.reply.take(logits)
        except Exception as exc:
            self._fail([job], exc)
            return
        if piece is not None and (not job.push(piece) or piece.finish is not None):
            self._end(job)

    def _end(self, job: Job) -> None:
        """Take a job out, wherever it is; what its row holds stays cached. Harmless a second time."""
        if job in self._waiting:
            self._waiting.remove(job)
        if job in self._filling:
            self._filling.remove(job)
        slot, job.slot = job.slot, None
        if slot is not None:
            self._table.release(slot)
            if slot.key is None:  # forgotten meanwhile
                slot.clear()

    def _drop(self, hint: Job) -> None:
        self._end(hint)
        hint.push(None)

    def _fail(self, jobs: list[Job], exc: Exception) -> None:
        """Tell everybody whom a failed step concerns. Their rows are emptied: nobody knows what they hold."""
        _log.error("%s: a step failed for %d jobs", self._name, len(jobs), exc_info=exc)
        for job in jobs:
            slot = job.slot
            self._end(job)
            if slot is not None:
                slot.clear()
            error = EngineError(f"the {self._name} model failed")
            error.__cause__ = exc
            job.push(error)

    def _forget(self, key: str) -> None:
        slot = self._table.by_key(key)
        if slot is None:
            return
        if slot.job is None:
            slot.clear()
        elif slot.job.reply is None:
            self._drop(slot.job)
            slot.clear()
        else:
            slot.key = None

    def _warm_up(self, done: concurrent.futures.Future[None]) -> None:
        try:
            # No row is ever full: the last token of a reply is not fed back.
            lengths = np.array([slot.length for slot in self._table.slots], np.int64)
            self._graph.warm_up(lengths, (_CHUNK_HINT, _CHUNK_BESIDE, _CHUNK_ALONE))
        except Exception as exc:
            _log.error("%s: warming up failed", self._name, exc_info=exc)
            done.set_exception(EngineError(f"the {self._name} model failed"))
        else:
            done.set_result(None)

    def _hint(self) -> Job | None:
        """Return the hint that gives way first, if any holds a row."""
        hints = [job for job in self._filling if job.gives_way]
        return min(hints, key=lambda job: job.rank, default=None)

    def _open(self) -> list[Job]:
        running = [slot.job for slot in self._table.slots if slot.job is not None]
        return [*running, *self._waiting]

    def _note_cached(self, job: Job, tokens: int) -> None:
        if job.reply is not None:
            job.reply.cached_tokens = tokens

    def _gone(self) -> EngineError:
        return EngineError(f"the {self._name} model was shut down")


def _chance(logits: NDArray[np.floating], token: int) -> float | None:
    """Return softmax(logits)[token]; None where the logits are not finite."""
    weights = np.exp(logits - logits.max(), dtype=np.float64)
    chance = float(weights[token] / weights.sum())
    return chance if math.isfinite(chance) else None
