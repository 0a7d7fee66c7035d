"""What was decided in a talk, as lines that can be compared.

Decisions belong to tracks: the user's voice, the turn machine, and each turn. Within a track the order
counts; how two tracks interleave does not, because models take time in a live talk and none in a replay.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass

from riposte.interfaces import SPEECH_RATE_HZ
from riposte.recording import Decided, Entry, Out
from riposte.wire import frames as wire

# Whether a partial transcript had shown the turn: those are made as the models find the time.
_OF_SPEED = ("announced",)

VOICE, MACHINE, ELSE = "voice", "machine", "session"


@dataclass(frozen=True, slots=True)
class Decision:
    """One line: `what` is compared, `at_s`, the session time, is shown."""

    track: str
    what: str
    at_s: float


def decisions(entries: Iterable[Entry], *, exact_words: bool = True) -> list[Decision]:
    """Return what was decided, in order.

    `exact_words` False: the model draws lots, so that its words are no decision.
    """
    made: list[Decision] = []
    words: dict[int, str] = {}
    for entry in entries:
        at_s = round(entry.at / SPEECH_RATE_HZ, 3)
        match entry:
            case Decided():
                made.append(Decision(MACHINE, _action(entry), at_s))
            case Out(frame=wire.Token(turn, text)):
                words[turn] = words.get(turn, "") + text
            case Out(frame=wire.Done() as done):
                # How far an unfinished reply had come depends on how fast the model is.
                if exact_words and done.reason in ("stop", "length") and done.turn in words:
                    made.append(Decision(_turn(done.turn), f"says {words[done.turn]!r}", at_s))
                made.append(Decision(_turn(done.turn), f"ends: {done.reason}", at_s))
            case Out(frame=frame) if (line := _line(frame)) is not None:
                made.append(Decision(*line, at_s))
    return made


def differences(recorded: list[Decision], replayed: list[Decision]) -> list[str]:
    """Name what differs, in the order of the tracks; nothing when the decisions are the same."""
    lines: list[str] = []
    for track in dict.fromkeys(one.track for one in [*recorded, *replayed]):
        before, after = ([one for one in made if one.track == track] for made in (recorded, replayed))
        matcher = difflib.SequenceMatcher(
            None, [one.what for one in before], [one.what for one in after], autojunk=False
        )
        for kind, from_, to, other_from, other_to in matcher.get_opcodes():
            if kind != "equal":
                lines += [
                    f"{track}: only recorded, at {one.at_s:.3f} s: {one.what}" for one in before[from_:to]
                ]
                lines += [
                    f"{track}: only replayed, at {one.at_s:.3f} s: {one.what}"
                    for one in after[other_from:other_to]
                ]
    return lines


def _line(frame: wire.ServerFrame) -> tuple[str, str] | None:
    """Return the track and the words of a frame that tells of a decision."""
    match frame:
        case wire.Speech(state, at_ms):
            return VOICE, f"{state} at {at_ms} ms"
        case wire.Transcript(turn, text, _, True):
            return _turn(turn), f"hears {text!r}"
        case wire.ToolCall(turn, _, name, arguments):
            return _turn(turn), f"asks for {name} {arguments}"
        case wire.AudioOut(turn, 0):
            return _turn(turn), "begins to speak"
        case wire.Playback(turn, gain):
            return _turn(turn), f"gain {gain:g}"
        case wire.Error(code, _, turn):  # its sentence may name seconds to wait
            return (ELSE if turn is None else _turn(turn)), f"error {code}"
    return None


def _action(entry: Decided) -> str:
    """Write an action as it would be called, with the sample at which it was decided."""
    fields = ", ".join(f"{name}={value!r}" for name, value in entry.fields.items() if name not in _OF_SPEED)
    return f"{entry.action}({fields}) at sample {entry.at}"


def _turn(number: int) -> str:
    return f"turn {number}"
