"""One turn as a client sees it: when the first token and sound came, and what the server says of it."""

from __future__ import annotations

import time

import msgspec

from riposte.client.client import Client
from riposte.errors import RiposteError
from riposte.wire.frames import AudioOut, Cancel, Done, Error, Timing, Token, Transcript

ANSWER_S = 30.0
BUSY = "busy"  # the reason of a turn that was not taken
QUIET_S = 0.06  # no token for so long after the first sound: the reply is written, and only playing is left

# The figures that a row may hold, in the order of a turn: name → field of `timing`.
SERVER_FIGURES = {
    "transcript": "asr",
    "first token": "llm_first_token",
    "last token": "last_token",
    "first audio": "first_audio_sent",
    "audible": "audible",
}


class Refused(RiposteError):
    """The server would not take a turn, or broke it; the figures of such a run are worth nothing."""


class TurnSeen(msgspec.Struct, frozen=True):
    """Stopwatch readings in milliseconds, None for what never came."""

    first_token_ms: float | None
    first_audio_ms: float | None
    words: str
    timing: Timing
    reason: str

    def readings(self) -> dict[str, float]:
        """Return this turn's figures by their names in a row."""
        found = {name: getattr(self.timing, field) for name, field in SERVER_FIGURES.items()}
        found["first token, client's watch"] = self.first_token_ms
        found["first audio, client's watch"] = self.first_audio_ms
        return {name: value for name, value in found.items() if value is not None}


async def watch(client: Client, started: float, *, to_the_end: bool = False) -> TurnSeen:
    """Follow the turn that was just asked for until its `done`, cutting its playback short.

    A reply plays for seconds, and nothing is measured while it does: once it sounds and no token has come
    for `QUIET_S`, it is cancelled, unless it is to be heard `to_the_end`. `started` is perf_counter when
    the asking frame was sent.
    """
    first_token = first_audio = None
    last_token = started
    cancelled = False
    words = ""
    while True:
        now = time.perf_counter()
        cuttable = first_audio is not None and not cancelled and not to_the_end
        if cuttable and now - last_token > QUIET_S:
            await client.send(Cancel())
            cancelled, cuttable = True, False
        patience = QUIET_S if cuttable else ANSWER_S
        try:
            frame = await client.receive(patience)
        except TimeoutError:
            if patience == ANSWER_S:
                raise Refused(f"no answer within {ANSWER_S:g} s") from None
            continue
        now = time.perf_counter()
        match frame:
            case Token():
                first_token = first_token if first_token is not None else (now - started) * 1000
                last_token = now
            case AudioOut():
                first_audio = first_audio if first_audio is not None else (now - started) * 1000
            case Transcript(final=True):
                words = frame.text
            case Error(code="busy", turn=None):  # others are in front: there is no turn, and no `done`
                return TurnSeen(None, None, "", Timing("text"), BUSY)
            case Error():
                raise Refused(f"{frame.code}: {frame.message}")
            case Done():
                return TurnSeen(first_token, first_audio, words, frame.timing, frame.reason)
