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
    """Stop that turn's reply: nothing of it may leave from here on."""

    turn: int
    reason: Literal["cancelled", "interrupted"]


@dataclass(frozen=True, slots=True)
class DropTurn:
    """End a turn that was announced by a transcript and is not taken."""

    turn: int


Action = StartTurn | CancelReply | DropTurn


class TurnMachine:
    """Number the turns and decide which one may speak."""

    def __init__(self, turn: int = 0) -> None:
        self.turn = turn  # the last number given
        self.reply: int | None = None  # the turn that is being answered
        self.announced: int | None = None  # the open utterance's number, once a transcript showed it

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

    def on_voice_started(self) -> list[Action]:
        """The user began to speak: over a reply, that is a barge-in."""
        return self._stop("interrupted")

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

    def _stop(self, reason: Literal["cancelled", "interrupted"]) -> list[Action]:
        turn, self.reply = self.reply, None
        return [] if turn is None else [CancelReply(turn, reason)]
