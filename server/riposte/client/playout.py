"""What a loudspeaker plays: frames of any length in, pieces as the device asks for them out.

Pure: it knows no device and no clock; a device asks for samples, and that is the time. A lock lets the
device's own thread ask.
"""

from __future__ import annotations

import threading
from array import array
from collections import deque
from dataclasses import dataclass, field

from riposte.wire.frames import AudioOut, Done, Playback, ServerFrame

FADE_MS = 5  # a gain changes over so long: a step would click
MOST_S = 60  # a server sends 0.3 s ahead; what is further ahead than this is dropped


@dataclass(slots=True)
class _Sound:
    """One turn's sound that was not asked for yet."""

    turn: int
    samples: array[int] = field(default_factory=lambda: array("h"))
    taken: int = 0  # samples that the device has been given
    gain: float = 1.0
    level: float = 1.0  # the gain that the last sample had
    whole: bool = False  # no more will come


@dataclass(frozen=True, slots=True)
class _Given:
    """A stretch that the device was given: where it ends, on the device's count and on the turn's."""

    ends: int
    turn: int
    taken: int
    samples: int


class Playout:
    """A jitter buffer with gains, which accounts for what was heard of each turn.

    It waits for `start_ms` of a turn before it begins, and again when it has run dry, so that a late frame
    makes one gap and not many. `device_ms` is what the device itself holds: given, but not heard yet.
    """

    def __init__(self, rate_hz: int, *, start_ms: int = 60, device_ms: int = 0) -> None:
        self._rate_hz = rate_hz
        self._start = rate_hz * start_ms // 1000
        self._device = rate_hz * device_ms // 1000
        self._fade = max(1, rate_hz * FADE_MS // 1000)
        self._lock = threading.Lock()
        self._sounds: deque[_Sound] = deque()
        self._thrown = 0  # the last turn that was thrown away
        self._running = False  # the first of the sounds has begun, and has not run dry
        self._asked = 0  # samples that the device has asked for in all: its clock
        self._given: deque[_Given] = deque()
        self._heard: dict[int, int] = {}  # turn → samples, until it is reported
        self._reported: dict[int, int] = {}

    def take(self, frame: ServerFrame) -> None:
        """Take what concerns a loudspeaker: `audio`, `playback`, `done`. Others are no matter."""
        match frame:
            case AudioOut():
                self.push(frame.turn, frame.pcm)
            case Playback():
                self.set_gain(frame.turn, frame.gain)
            case Done():
                self.end(frame.turn)

    def push(self, turn: int, pcm: bytes) -> None:
        """Add a piece of a turn's sound, s16 mono."""
        with self._lock:
            if turn <= self._thrown:
                return
            if not self._sounds or self._sounds[-1].turn != turn:
                for earlier in self._sounds:
                    earlier.whole = True
                self._sounds.append(_Sound(turn))
            sound = self._sounds[-1]
            if len(sound.samples) < MOST_S * self._rate_hz:
                sound.samples.frombytes(pcm)

    def set_gain(self, turn: int, gain: float) -> None:
        """Play that turn at this gain from now on; 0 throws away what is buffered of it."""
        with self._lock:
            if gain == 0:
                self._thrown = max(self._thrown, turn)
            for sound in self._sounds:
                if sound.turn == turn:
                    sound.gain = gain
                    if gain == 0:
                        # What is left fades out; with nothing begun there is nothing to fade.
                        del sound.samples[self._fade if sound.taken else 0 :]
                        sound.whole = True

    def end(self, turn: int) -> None:
        """No more of that turn will come: what is buffered is played, however little it is."""
        with self._lock:
            for sound in self._sounds:
                if sound.turn == turn:
                    sound.whole = True

    def pull(self, samples: int) -> bytes:
        """Return exactly so many samples for the device; silence where there is no sound."""
        with self._lock:
            made = array("h")
            while len(made) < samples and self._sounds:
                sound = self._sounds[0]
                if not self._running and not sound.whole and len(sound.samples) < self._start:
                    break
                self._running = True
                self._give(sound, made, samples - len(made))
                if sound.samples:
                    continue
                if not sound.whole:
                    self._running = False  # dry: collect a little before going on
                    break
                self._sounds.popleft()
                self._running = False
            self._asked += samples
            self._note_heard()
            made.frombytes(bytes(2 * (samples - len(made))))
            return made.tobytes()

    @property
    def buffered_ms(self) -> int:
        """How much sound waits, what the device holds included."""
        with self._lock:
            waiting = sum(len(sound.samples) for sound in self._sounds)
            held = sum(given.samples for given in self._given)
            return (waiting + held) * 1000 // self._rate_hz

    def heard_ms(self, turn: int) -> int:
        """Return how much of a turn has left the loudspeaker, as far as is known; 0 for one unknown."""
        with self._lock:
            return max(self._heard.get(turn, 0), self._reported.get(turn, 0)) * 1000 // self._rate_hz

    def news(self) -> list[tuple[int, int]]:
        """Return (turn, ms heard) for every turn that has got further since the last call."""
        with self._lock:
            heard, self._heard = self._heard, {}
            self._reported.update(heard)
            while len(self._reported) > 8:  # turns long over
                del self._reported[min(self._reported)]
            return [(turn, samples * 1000 // self._rate_hz) for turn, samples in heard.items()]

    def _give(self, sound: _Sound, made: array[int], room: int) -> None:
        piece = sound.samples[:room]
        del sound.samples[:room]
        sound.taken += len(piece)
        if sound.level != sound.gain or sound.gain != 1.0:
            piece = self._scaled(sound, piece)
        made.extend(piece)
        self._given.append(_Given(self._asked + len(made), sound.turn, sound.taken, len(piece)))

    def _scaled(self, sound: _Sound, piece: array[int]) -> array[int]:
        made, step = array("h"), 1.0 / self._fade
        for value in piece:
            if sound.level == sound.gain:
                break
            change = min(step, abs(sound.gain - sound.level))
            sound.level += change if sound.gain > sound.level else -change
            made.append(_clipped(value * sound.level))
        rest, gain = piece[len(made) :], sound.gain
        if gain > 1.0:
            made.extend(_clipped(value * gain) for value in rest)
        else:
            made.extend([int(value * gain) for value in rest])
        return made

    def _note_heard(self) -> None:
        """What was given more than the device's own buffer ago has been heard."""
        heard = self._asked - self._device
        while self._given:
            first = self._given[0]
            begins = first.ends - first.samples
            if heard <= begins:
                break
            part = min(first.samples, heard - begins)
            self._heard[first.turn] = first.taken - first.samples + part
            if part < first.samples:
                break
            self._given.popleft()


def _clipped(value: float) -> int:
    return max(-32_768, min(32_767, round(value)))
