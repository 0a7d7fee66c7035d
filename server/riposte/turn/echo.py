"""Take the reply's own sound out of what the microphone hears.

A reply's samples are known before they are played, so its echo is predicted before it arrives, and taken
off sample by sample: nothing is delayed. What is left passes where it is more than an echo can be.
Pure: time is samples of session audio, and how the audio is cut into pieces makes no difference.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from riposte.interfaces import SPEECH_RATE_HZ, PcmF32
from riposte.turn.echo_filter import BLOCK, HOP, PARTS, DelayFinder, EchoFilter
from riposte.turn.echo_judge import Judge
from riposte.turn.echo_reference import Reference

_MS = SPEECH_RATE_HZ // 1000
_LATEST = 600 * _MS  # an echo comes no later than this after its sound
_SOONEST = 20 * _MS
_TAIL = 250 * _MS  # of a room
_SLACK = 80 * _MS  # a client that begins to play anew may be so much earlier or later than the time before
_MEMORY = 256 * _MS  # of the microphone: what a path's power is measured on
_PAST = SPEECH_RATE_HZ  # of it while nothing sounds: what its noise is measured on
_HOLD = 200 * _MS  # of sound that may be an echo and is like nothing sent: then it is somebody
_QUIET = 550 * _MS  # of a reply without any sound from the microphone: then none of it comes back
_UNLIKE = 1200 * _MS  # of a reply, and no echo was found in what the microphone heard: the same
_EARLY = 96  # samples of a path that may come before its strongest
_NEAR = 24  # samples by which delays may differ that are taken for one
_STANDS_OUT, _SUSPECT = 11.0, 8.0  # deviations of chance; two voices of one pitch reach 10
_MUTE = 0.003  # -50 dB
_WRONG = 4  # blocks in a row that a prediction makes half as loud again, and it is left out
_RISE = np.arange(1, BLOCK + 1, dtype=np.float32) / BLOCK


class EchoGate:
    """One microphone's gate. It does nothing, and costs nothing, while no reply can be heard.

    A reply begins unaligned: what may be its echo is held back until its delay is found (about 100 ms), or
    until it turns out to be something else. From then on it is predicted.
    """

    def __init__(self) -> None:
        self._far = Reference()
        self._filter = EchoFilter()
        self._finder = DelayFinder()
        self._judge = Judge()
        self._at = 0  # the next sample of the microphone
        self._awake = False
        self._until = 0  # from here on nothing of a reply can be heard
        self._past: deque[PcmF32] = deque()  # the microphone, while nothing sounds
        self._past_size = 0
        self._mic: PcmF32 = np.zeros(_MEMORY, np.float32)  # its last samples, in whole blocks
        # Of the block in progress:
        self._heard: PcmF32 = np.zeros(BLOCK, np.float32)
        self._left: PcmF32 = np.zeros(BLOCK, np.float32)
        self._unit: PcmF32 = np.zeros(BLOCK, np.float32)  # its echo at gain 1
        self._echo: PcmF32 = np.zeros(BLOCK, np.float32)
        self._ramp: PcmF32 = np.ones(BLOCK, np.float32)
        self._level = 1.0
        # What is known of the echo's delay:
        self._delay: int | None = None
        self._aligned = False  # the delay is this reply's
        self._unaligns: int | None = None  # the sample at which a new stretch may first be heard
        self._since: int | None = None  # and at which the present one might
        self._candidate, self._votes = 0, 0
        self._suspect = False
        self._held = 0  # samples of sound that were held back
        self._foreign = False  # what is held back is no echo
        self._silent = False  # this client lets nothing be heard
        # What the client was told:
        self._gain, self._wanted, self._told = 1.0, 1.0, 0
        # How alike prediction and rest are, smoothed:
        self._alike, self._left_power, self._unit_power = 0.0, 0.0, 0.0
        self._worse = 0  # blocks in a row that the prediction made louder

    @property
    def active(self) -> bool:
        """May anything of a reply still be heard? While not, `clean` returns its argument."""
        return self._until > self._at

    def sent(self, pcm: PcmF32, at: int) -> None:
        """Note samples of a reply, f32 at 16 kHz, and the sample at which they are played at the earliest."""
        if pcm.size == 0:
            return
        if self._far.push(pcm, at):
            soonest = _SOONEST if self._delay is None else max(_SOONEST, self._delay - _SLACK)
            self._unaligns = self._far.begins + soonest
        self._until = self._far.ends + _LATEST + _TAIL

    def gain(self, gain: float, at: int) -> None:
        """Note that the client is told to play at this gain; when it does is found out."""
        if gain != self._wanted:
            self._gain, self._wanted, self._told = max(self._gain, self._wanted), gain, at

    def stopped(self, at: int) -> None:
        """Note that the client is told to throw away what it holds."""
        self.gain(0.0, at)
        self._far.cut(at)
        if self._far.ends <= self._far.begins:
            self._unaligns = None  # nothing of the last stretch will be played
        self._until = min(self._until, at + self._latest + _TAIL)

    def skip(self) -> None:
        """Note that the microphone gave nothing for a while, in which what was sent has been played."""
        self._far.cut(self._at)
        self._until, self._unaligns = self._at, None

    def clean(self, pcm: PcmF32, at: int) -> PcmF32:
        """Return f32[n] without echo for the f32[n] that begins at sample `at`."""
        if at != self._at:
            self._awake = False
            self._past.clear()
            self._past_size = 0
        self._at = at
        if not self._awake and not self.active:
            self._remember(pcm)
            self._at += pcm.size
            return pcm
        if not self._awake:
            self._wake()
        out = np.empty_like(pcm)
        done = 0
        while done < pcm.size:
            here = self._at % BLOCK
            if here == 0:
                if not self.active:
                    self._sleep(pcm[done:])
                    out[done:] = pcm[done:]
                    break
                self._begin_block()
            size = min(BLOCK - here, pcm.size - done)
            block, piece = slice(here, here + size), slice(done, done + size)
            self._heard[block] = pcm[piece]
            np.subtract(pcm[piece], self._echo[block], out=self._left[block])
            np.multiply(self._left[block], self._ramp[block], out=out[piece])
            self._at += size
            done += size
            if self._at % BLOCK == 0:
                self._end_block()
        return out

    def _remember(self, pcm: PcmF32) -> None:
        self._past.append(pcm)
        self._past_size += pcm.size
        while self._past_size - self._past[0].size >= _PAST + BLOCK:
            self._past_size -= self._past.popleft().size

    def _sleep(self, rest: PcmF32) -> None:
        self._awake, self._since = False, None
        self._remember(self._mic)
        self._remember(rest.copy())
        self._at += rest.size

    def _wake(self) -> None:
        self._awake = True
        past = np.concatenate(self._past) if self._past else np.zeros(0, np.float32)
        self._past.clear()
        self._past_size = 0
        here = self._at % BLOCK
        whole = past[: past.size - here]
        whole = whole[max(0, whole.size - _PAST) :]
        whole = whole[whole.size % BLOCK :]
        frames = np.zeros((whole.size // BLOCK, 2 * BLOCK), np.float32)
        frames[:, BLOCK:] = whole.reshape(-1, BLOCK)
        spectra = np.fft.rfft(frames)
        self._judge.begin((spectra.real**2 + spectra.imag**2).astype(np.float32))
        for line in (self._mic, self._heard, self._left, self._unit, self._echo):
            line[:] = 0
        self._mic[max(0, _MEMORY - whole.size) :] = whole[-_MEMORY:]
        self._ramp = np.ones(BLOCK, np.float32)
        self._level = 1.0
        self._finder = DelayFinder()
        self._refill()

    @property
    def _latest(self) -> int:
        """How long after a sample its echo may begin to be heard."""
        return _LATEST if self._delay is None else min(_LATEST, self._delay + _SLACK)

    def _begin_block(self) -> None:
        """Predict the block that begins now, and decide how much of what is left of it will pass."""
        if self._unaligns is not None and self._at >= self._unaligns:
            self._since, self._unaligns = self._at, None
            self._aligned = self._foreign = False
            self._held = self._votes = 0
            self._gain = self._wanted = 1.0
            self._finder.restart()
        if self._aligned:
            assert self._delay is not None
            far = self._at - self._delay + _EARLY
            self._unit = self._filter.predict(self._far.read(far - BLOCK, far + BLOCK))
            # A prediction that makes it worse is left out until it has been learned anew.
            gain = self._gain if self._worse < _WRONG else 0.0
            self._echo = self._unit * np.float32(gain)
            steady = self._gain == self._wanted
            loudest = max(self._gain, self._wanted)
            level = self._judge.expect(self._filter.residual, self._filter.strongest, loudest, steady=steady)
        else:
            self._echo = np.zeros(BLOCK, np.float32)
            level = 1.0 if self._since is None or self._foreign or self._silent else _MUTE
        self._ramp = (self._level + (level - self._level) * _RISE).astype(np.float32)
        self._level = level

    def _end_block(self) -> None:
        """Learn from the block that is whole now."""
        self._mic[:-BLOCK] = self._mic[BLOCK:]
        self._mic[-BLOCK:] = self._heard
        if self._aligned:
            if self._gain == self._wanted == 1.0:
                power = self._filter.learn(self._heard - self._unit)
            else:
                power = self._filter.spectrum(self._left)[1]
            self._judge.hear(power, self._likeness())
            if self._gain != self._wanted:
                self._settle_gain()
        else:
            self._judge.listen(self._filter.spectrum(self._heard)[1])
            if self._since is not None:
                self._hold(self._at - self._since)
        if self._at % HOP == 0:
            self._find()

    def _likeness(self) -> float:
        """Return how much of what is left is the predicted echo's own shape, 0 to 1: its level changed."""
        left, unit = self._left, self._unit
        left_power = float(np.dot(left, left))
        heard_power = float(np.dot(self._heard, self._heard))
        if self._worse < _WRONG:
            self._worse = self._worse + 1 if left_power > 1.5 * heard_power else 0
        else:
            rest = self._heard - unit
            self._worse = 0 if float(np.dot(rest, rest)) < 0.8 * heard_power else _WRONG
        self._alike += 0.3 * (float(np.dot(left, unit)) - self._alike)
        self._left_power += 0.3 * (left_power - self._left_power)
        self._unit_power += 0.3 * (float(np.dot(unit, unit)) - self._unit_power)
        return self._alike**2 / (self._left_power * self._unit_power + 1e-12)

    def _hold(self, since: int) -> None:
        """Count what is held back, and stop holding when it cannot be an echo."""
        if self._judge.loud:
            self._held += BLOCK
        self._foreign = self._foreign or self._held > (2 * _HOLD if self._suspect else _HOLD)
        if since > (_UNLIKE if self._held else _QUIET):
            self._silent = True

    def _settle_gain(self) -> None:
        """Find out whether the client has changed its gain yet."""
        before = self._heard - np.float32(self._gain) * self._unit
        after = self._heard - np.float32(self._wanted) * self._unit
        if np.dot(after, after) < np.dot(before, before) or self._at > self._told + self._latest:
            self._gain = self._wanted

    def _find(self) -> None:
        """Follow the delay; align when the same one has been found several times."""
        self._finder.push(self._mic[-HOP:], self._far.read(self._at - 2 * HOP, self._at))
        settled = self._aligned or self._since is None or (self._silent and not self._judge.loud)
        if settled and self._at // HOP % 4:
            return
        delay, stands_out = self._finder.find()
        likely = self._delay is not None and abs(delay - self._delay) <= _SLACK
        self._suspect = stands_out >= _SUSPECT
        if stands_out < (_SUSPECT if likely else _STANDS_OUT):
            self._votes = 0
            return
        self._votes = self._votes + 1 if abs(delay - self._candidate) <= _NEAR // 3 else 1
        self._candidate = delay
        changing = self._gain != 1.0 or self._wanted != 1.0
        if self._votes >= (2 if likely else 3) and not (changing and self._delay is None):
            self._align(delay)

    def _align(self, delay: int) -> None:
        if self._delay is None:
            self._delay = delay
            self._filter.begin(self._path_power())
        elif self._aligned:
            if abs(delay - self._delay) <= _NEAR:
                return
            strongest = self._delay - _EARLY + int(np.argmax(np.abs(self._filter.taps())))
            if abs(delay - strongest) <= _NEAR:
                self._filter.shift(self._delay - delay)  # it has drifted there, and the path with it
            else:
                self._filter.doubt(0.3)
        else:
            self._filter.doubt(0.3)
        self._judge.doubt()
        self._delay, self._aligned, self._silent = delay, True, False
        self._refill()

    def _refill(self) -> None:
        if self._delay is not None:
            at = self._at // BLOCK * BLOCK - self._delay + _EARLY
            self._filter.refill(self._far.read(at - (PARTS + 1) * BLOCK, at))

    def _path_power(self) -> PcmF32:
        """Return how much of the reply's power comes back at each frequency."""
        assert self._delay is not None
        end = self._at - self._delay
        far = _power_of(self._far.read(end - _MEMORY, end))
        back = _power_of(self._mic) / (far + np.float32(1e-6) * far.max() + np.float32(1e-9))
        return np.convolve(np.pad(back, 4, mode="edge"), np.full(9, 1 / 9), "valid").astype(np.float32)


def _power_of(pcm: PcmF32) -> PcmF32:
    frames = np.lib.stride_tricks.sliding_window_view(pcm, 2 * BLOCK)[:: BLOCK // 2]
    spectra = np.fft.rfft(frames * np.hanning(2 * BLOCK).astype(np.float32))
    return np.asarray(np.mean(np.abs(spectra) ** 2, axis=0), np.float32)
