"""What to do when something happens in a conversation. Pure: it decides and returns actions.

It never awaits, and sees no socket, clock or model; tests/unit/test_machine.py is its table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from riposte.wire.frames import Clock


@dataclass(frozen=True, slots=True)
class StartTurn:
    """Answer this input as turn `turn`. Spoken input has no text yet."""

    turn: int
    clock: Clock
    text: str | None = None
    say: bool = False  # speak the text as it stands
    voice: str | None = None
    announced: bool = False  # a transcript has shown it: it ends in a `done`, words or none


@dataclass(frozen=True, slots=True)
class CancelReply:
    """Stop that turn's reply: nothing of it may leave from here on.

    `continued`: its user had not finished; the next turn has its words too, and it leaves the conversation.
    """

    turn: int
    reason: Literal["cancelled", "interrupted"]
    continued: bool = False


@dataclass(frozen=True, slots=True)
class SetGain:
    """Play that turn's sound at this gain from now on: somebody may be speaking over it."""

    turn: int
    gain: float


@dataclass(frozen=True, slots=True)
class DropTurn:
    """End a turn that was announced by a transcript and is not taken."""

    turn: int


Action = StartTurn | CancelReply | SetGain | DropTurn

DUCKED = 0.1


class TurnMachine:
    """Number the turns and decide which one may speak."""

    def __init__(self, turn: int = 0) -> None:
        self.turn = turn  # the last number given
        self.reply: int | None = None  # the turn that is being answered
        self.announced: int | None = None  # the open utterance's number, once a transcript showed it
        self._ducked: int | None = None  # the turn whose reply is played quietly

    @property
    def next_spoken(self) -> int:
        """The number that the open utterance will have, if it becomes a turn before anything else does."""
        return self.announced or self.turn + 1

    def on_text(self, text: str) -> list[Action]:
        """A typed turn arrived."""
        return [*self._stop("interrupted"), self._start(StartTurn(self._next(), "text", text))]

    def on_say(self, text: str, voice: str | None) -> list[Action]:
        """A text to be spoken as it stands arrived."""
        start = StartTurn(self._next(), "text", text, say=True, voice=voice)
        return [*self._stop("interrupted"), self._start(start)]

    def on_end(self) -> list[Action]:
        """The client says that the user has finished speaking."""
        return self._spoken("end")

    def on_onset(self) -> list[Action]:
        """There may be a voice: over a reply, that ducks it until it is known what the voice wants."""
        if self.reply is None or self._ducked == self.reply:
            return []
        self._ducked = self.reply
        return [SetGain(self.reply, DUCKED)]

    def on_no_barge_in(self) -> list[Action]:
        """It was noise, or a backchannel: the reply goes on as before."""
        turn, self._ducked = self._ducked, None
        return [] if turn is None or turn != self.reply else [SetGain(turn, 1.0)]

    def on_barge_in(self, *, continued: bool = False) -> list[Action]:
        """The user speaks over the reply. `continued`: he had not finished when it began."""
        return self._stop("interrupted", continued=continued)

    def on_voice_stopped(self) -> list[Action]:
        """The user's turn ended by silence."""
        return self._spoken("speech")

    def on_partial(self) -> int:
        """A transcript of the open utterance can be shown: return the turn that it announces."""
        if self.announced is None:
            self.announced = self._next()
        return self.announced

    def on_cancel(self) -> list[Action]:
        """The client wants the reply stopped."""
        return self._stop("cancelled")

    def on_clear(self) -> list[Action]:
        """Microphone audio that no turn has used is forgotten."""
        turn, self.announced = self.announced, None
        return [] if turn is None else [DropTurn(turn)]

    def on_ended(self, turn: int, *, unseen: bool = False) -> None:
        """A turn is over. `unseen`: no frame of it ever left, so its number is free again."""
        if self.reply == turn:
            self.reply = None
        if unseen and self.turn == turn:
            self.turn -= 1

    def _spoken(self, clock: Clock) -> list[Action]:
        actions = self._stop("interrupted")
        announced, self.announced = self.announced, None
        start = StartTurn(announced or self._next(), clock, announced=announced is not None)
        return [*actions, self._start(start)]

    def _next(self) -> int:
        self.turn += 1
        return self.turn

    def _start(self, start: StartTurn) -> Action:
        self.reply = start.turn
        return start

    def _stop(self, reason: Literal["cancelled", "interrupted"], *, continued: bool = False) -> list[Action]:
        turn, self.reply = self.reply, None
        self._ducked = None
        return [] if turn is None else [CancelReply(turn, reason, continued)]
