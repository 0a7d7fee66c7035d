"""Is there time for one more turn? What waits in front of it says so. Pure: time is given.

One `Admission` belongs to one server. It looks at the turns that have begun and do not sound yet, and at how
much each of those in front of a turn made it later than a turn alone is. That is measured, stage by stage: a
model that answers many at once delays nobody, one that takes them one by one does. An idle server
refuses nobody, whatever it measured; and what it measured fades.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

from riposte.errors import Busy
from riposte.turn.spec import Stages

Stage = Literal["asr", "llm", "tts"]

_WEIGHT = 0.2  # of the newest measurement
# Turns alone say nothing of turns together, but where every second one is refused there are no others: each
# makes what was measured together count for less, so that a bad minute is tried again.
_FADES = 0.95
# A turn in front costs no more than so many times what the stage takes alone; a stage that takes longer than
# so many times what it takes alone was held up by something else.
_COSTS_MOST = 2
_ODD = 4
_GRAIN_S = 0.001  # so that what takes no time at all can come to take some


@dataclass(slots=True)
class _Open:
    """A turn on its way to its first clause."""

    stages: Stages
    needs: tuple[Stage, ...]
    begun: float
    ahead: int  # turns in front when it began
    alone: bool  # and nobody has come since


@dataclass(slots=True)
class _Cost:
    alone_s: float | None = None  # of a turn with nobody in front
    each_s: float = 0.0  # more, for each that is in front


class Admission:
    """Predict how long a new turn waits for others before its first clause. Used on the event loop.

    `limit_s` 0: nobody is refused. `refused` is called for each that is.
    """

    def __init__(self, limit_s: float = 0.0, refused: Callable[[], None] | None = None) -> None:
        self._limit_s = limit_s
        self._refused = refused
        self._open: list[_Open] = []  # in the order of their beginning
        self._costs = {stage: _Cost() for stage in get_args(Stage)}

    @property
    def waiting(self) -> int:
        """How many turns have begun and have nothing to be heard yet."""
        self._look()
        return len(self._open)

    @property
    def wait_s(self) -> float:
        """How long a turn that begins now would wait for those in front of it."""
        self._look()
        return sum(map(self._delay_s, self._open))

    def admit(self, own: Stages | None = None) -> None:
        """Raise Busy when a turn that begins now would wait too long; `own`: one that began as a draft."""
        if self._limit_s <= 0:
            return
        self._look()
        place = next((n for n, turn in enumerate(self._open) if turn.stages is own), len(self._open))
        ahead = self._open[:place]
        wait_s = sum(map(self._delay_s, ahead))
        if wait_s > self._limit_s and not (own is not None and place == len(self._open)):
            if self._refused is not None:
                self._refused()
            raise Busy(
                f"{len(ahead)} turns are waiting for their first words, and one more would wait"
                f" {wait_s * 1000:.0f} ms; try again in {math.ceil(wait_s)} s"
            )

    def begin(self, stages: Stages, needs: tuple[Stage, ...], now: float) -> None:
        """Count a turn, until it has come through all the stages that it needs, or `end`."""
        self._look()
        for turn in self._open:
            turn.alone = False
        self._open.append(_Open(stages, needs, now, len(self._open), not self._open))

    def end(self, stages: Stages) -> None:
        """A turn is over, with or without a first clause."""
        self._look()
        self._open = [turn for turn in self._open if turn.stages is not stages]

    def _look(self) -> None:
        """Learn from those who got there since the last look."""
        left = []
        for turn in self._open:
            if _reached(turn.stages, turn.needs[-1]) is not None:
                self._learn(turn)
            elif turn.stages.tools is None:  # else it waits for its client, and no model for it
                left.append(turn)
        self._open = left

    def _learn(self, turn: _Open) -> None:
        at = turn.begun
        for stage in turn.needs:
            reached = _reached(turn.stages, stage)
            if reached is None:
                continue
            took_s, at = max(0.0, reached - at), max(at, reached)
            cost = self._costs[stage]
            if cost.alone_s is None:
                cost.alone_s = took_s / (1 + turn.ahead)
            most_s = _ODD * max(cost.alone_s, _GRAIN_S)
            if turn.alone:
                cost.alone_s += _WEIGHT * (min(took_s, most_s) - cost.alone_s)
                cost.each_s = _FADES * min(cost.each_s, _COSTS_MOST * cost.alone_s)
            elif turn.ahead:
                cost.alone_s = min(cost.alone_s, took_s)
                more_s = min((took_s - cost.alone_s) / turn.ahead, most_s)
                cost.each_s += _WEIGHT * (more_s - cost.each_s)

    def _delay_s(self, turn: _Open) -> float:
        """Return by how much this one delays whoever comes next, in the stages that it has left."""
        return sum(self._costs[s].each_s for s in turn.needs if _reached(turn.stages, s) is None)


def needs(*, hears: bool, thinks: bool, sounds: bool) -> tuple[Stage, ...]:
    """Return the stages of a turn up to its first clause."""
    asked: dict[Stage, bool] = {"asr": hears, "llm": thinks, "tts": sounds}
    return tuple(stage for stage, wanted in asked.items() if wanted)


def _reached(stages: Stages, stage: Stage) -> float | None:
    match stage:
        case "asr":
            return stages.asr
        case "llm":
            return stages.llm_first_token
        case "tts":
            return stages.tts_first_audio
