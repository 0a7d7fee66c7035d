"""How the clauses of a reply are joined: the silence around each, and no click where it begins or ends. Pure.

Voices begin with silence (espeak-ng 12 to 120 ms, neural ones up to 300) and end with what they like. Here
each clause loses what is silent at its head and gets the pause of its punctuation behind it, so that a
voice which does so by itself passes unchanged. What comes out depends on the samples alone, not on the
pieces in which they come.
"""

from __future__ import annotations

import numpy as np

from riposte.audio import AUDIBLE
from riposte.interfaces import Pcm16
from riposte.pauses import pause_after

_LEAD_S = 0.005  # of the silence in front of a clause is kept: soft consonants begin below what is audible
_TAIL_S = 0.050  # so long at least a last "s" or "f" may die away below it
_FAINT = 16  # a sample of this size, 1/2048 of full scale, is the voice's own; below it there is nothing
_FADE_S = 0.005
# A voice that is silent for longer means it, or is too soft for our measure: then nothing is taken away.
_LOOK_S = 0.5


class Joins:
    """Bring one clause after the other into shape: `begin`, any number of `push`, `end`.

    What is held back of a clause in progress is its last 5 ms, for they may be the end, and silence, up
    to half a second of it, until sound follows.
    """

    def __init__(self, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._lead = round(_LEAD_S * rate_hz)
        self._look = round(_LOOK_S * rate_hz)
        self._ramp = np.arange(1, round(_FADE_S * rate_hz) + 1) / (round(_FADE_S * rate_hz) + 1)
        self.begin("")

    def begin(self, text: str) -> None:
        """Begin the clause that says this."""
        self._pause = round(pause_after(text) * self._rate_hz)
        self._tail = max(self._pause, round(_TAIL_S * self._rate_hz))
        self._held = np.zeros(0, np.int16)
        self._loud = 0  # up to this sample of `_held` is sound; below 0 when more than that was passed on
        self._made: int | None = None  # samples passed on; None until the sound begins

    def push(self, pcm: Pcm16) -> Pcm16:
        """Return what these samples make certain of the clause."""
        self._held = np.concatenate((self._held, pcm)) if self._held.size else pcm
        loud = np.flatnonzero((self._held >= AUDIBLE) | (self._held <= -AUDIBLE))
        if loud.size:
            self._loud = int(loud[-1]) + 1
        if self._made is None:
            begins = int(loud[0]) if loud.size else self._held.size
            if begins > self._look:
                begins = 0
            elif not loud.size:
                return pcm[:0]
            begins = max(0, begins - self._lead)
            self._held, self._loud, self._made = self._held[begins:], self._loud - begins, 0
        self._loud = max(self._loud, self._held.size - self._look)
        return self._take(self._ends() - self._ramp.size)

    def end(self) -> Pcm16:
        """Return the rest of the clause and its pause; nothing of a clause that has no sound."""
        if self._made is None:
            return np.zeros(0, np.int16)
        end = self._ends()
        last = self._held[max(0, end - self._ramp.size) : end]
        faded = np.rint(last * self._ramp[: last.size][::-1]).astype(np.int16)
        self._held = np.concatenate((self._held[: end - last.size], faded))
        silence = np.zeros(max(0, self._pause - (end - self._loud)), np.int16)
        return np.concatenate((self._take(end), silence))

    def _ends(self) -> int:
        """Return where in `_held` the sound ends if nothing follows."""
        tail = self._held[max(0, self._loud) : max(0, self._loud + self._tail)]
        faint = np.flatnonzero((tail >= _FAINT) | (tail <= -_FAINT))
        return max(0, self._loud) + (int(faint[-1]) + 1 if faint.size else 0)

    def _take(self, samples: int) -> Pcm16:
        assert self._made is not None
        taken, self._held = np.split(self._held, [max(0, samples)])
        self._loud -= taken.size
        if self._made < self._ramp.size:
            ramp = self._ramp[self._made : self._made + taken.size]
            taken = taken.copy()
            taken[: ramp.size] = np.rint(taken[: ramp.size] * ramp)
        self._made += taken.size
        return taken
