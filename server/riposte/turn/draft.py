"""What is prepared in a pause, in case that it is the end of the turn."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

from riposte.errors import EngineError
from riposte.interfaces import SPEECH_RATE_HZ, Heard
from riposte.turn.pipeline import Turn


@dataclass(frozen=True, slots=True)
class Verdict:
    """The words up to a pause, and how probable it is that the turn ends there; None: not known."""

    heard: Heard
    model: float | None  # says the language model, of the words
    sound: float | None  # says a turn detector, of the sound


class Draft:
    """The words and the verdict of one pause, and the turn that is held ready for it.

    `at`: the pause's first sample, in session time; `begun`: when the work on it began. `turn` None: nothing
    is held, and the turn begins when the pause turns out to be its end.
    """

    def __init__(self, at: int, verdict: asyncio.Task[Verdict], begun: float) -> None:
        self.at = at
        self.begun = begun
        self.turn: Turn | None = None
        self._verdict = verdict

    @property
    def busy(self) -> bool:
        """Does a model owe it something?"""
        return not self._verdict.done() or (self.turn is not None and self.turn.busy)

    async def verdict(self) -> Verdict:
        """Return what was made of the pause.

        Cancelling stops the waiting alone. Raises what a model raised, EngineError where it was given up.
        """
        await asyncio.wait({self._verdict})  # not the task itself: its cancel is not the waiter's
        if self._verdict.cancelled():
            raise EngineError("what was said was given up before it was heard")
        return self._verdict.result()

    @property
    def text(self) -> str:
        """The words, as far as they are known by now."""
        known = self._verdict.done() and not self._verdict.cancelled() and self._verdict.exception() is None
        return self._verdict.result().heard.text if known else ""

    async def words(self) -> Heard:
        """Return the words alone."""
        return (await self.verdict()).heard

    def drop_turn(self) -> bool:
        """Give up what is held; the words stay. False: nothing was."""
        turn, self.turn = self.turn, None
        if turn is None:
            return False
        turn.stop("dropped")
        return True

    def close(self) -> None:
        """Stop whatever still listens."""
        self._verdict.cancel()

    def turn_over(self) -> None:
        """Close, if it is the turn that is over; one that was given up leaves the words to another."""
        if self.turn is not None:
            self.close()

    def ready(self, number: int) -> Turn | None:
        """Return the held turn if it can be this one; one that failed is not told of, but begun anew."""
        turn = self.turn
        return turn if turn is not None and turn.spec.number == number and not turn.ended.is_set() else None


class Budget:
    """No more than so many drafts in a second of session audio. Pure."""

    def __init__(self, per_second: int) -> None:
        self._made: deque[int] = deque(maxlen=per_second)

    def take(self, at: int) -> bool:
        """Tell whether one more may be made at this sample, and count it."""
        if self._made.maxlen == 0 or (
            len(self._made) == self._made.maxlen and at - self._made[0] < SPEECH_RATE_HZ
        ):
            return False
        self._made.append(at)
        return True
