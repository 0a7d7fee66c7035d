"""Levels and voice probabilities to what the user's voice does. Pure, and counted in samples.

Silence is counted from the drop in energy, which shows at once, and confirmed by the voice detector, whose
score falls 30 to 75 ms after the last voiced sample; so the detector's delay is not added to the wait. Voice
is what the detector says, where there is energy too. How long a silence ends the turn is for others to say
(`wait_ms`), once they are asked (`Due`).
"""

from __future__ import annotations

from dataclasses import dataclass

# Silero's own VADIterator: voice above 0.5, silence below 0.35; between them, as before.
VOICE_SCORE = 0.5
SILENCE_SCORE = 0.35
HOP = 128  # samples: 8 ms at 16 kHz, a quarter of the detector's window

_ONSET_SCORE = 0.3  # enough to duck for, and to look closer
_BELOW_PEAK_DB = 28.0  # a voice's last audible sounds; a room's echo of it is fainter
_ABOVE_FLOOR_DB = 9.0
_QUIETEST_DBFS = -62.0  # no microphone's voice is fainter
_PEAK_FALLS_DB = 0.05  # a hop: 6 dB in a second
_FLOOR_RISES_DB = 0.02  # a hop: 2.5 dB in a second; ten times that where nobody speaks
_FLOOR_DBFS = -75.0  # to begin with
_UP_HOPS = 2  # one hop alone is a click
_LOUD_DBFS = -50.0  # so loud for so many hops, it may be a voice before the detector can tell
_LOUD_HOPS = 4
_STILL = 6 * HOP  # a shorter lull is within a syllable
_UNSURE_MS = 240  # of what may be a voice: if it is none by then, it is noise


@dataclass(frozen=True, slots=True)
class Onset:
    """There may be a voice since sample `at`: something loud, or what the detector half believes."""

    at: int


@dataclass(frozen=True, slots=True)
class Faded:
    """It was none, or too short to count."""

    at: int


@dataclass(frozen=True, slots=True)
class Started:
    """The user began to speak at sample `at` of session audio."""

    at: int


@dataclass(frozen=True, slots=True)
class Paused:
    """The user has been silent since sample `at`, for long enough to prepare an answer."""

    at: int


@dataclass(frozen=True, slots=True)
class Due:
    """The silence since `at` could be the end, were the words finished: set `Endpoint.wait_ms`."""

    at: int


@dataclass(frozen=True, slots=True)
class Resumed:
    """The pause is over: the user speaks again, since sample `at`."""

    at: int


@dataclass(frozen=True, slots=True)
class Stopped:
    """The user is taken to have finished; `at` is the sample after the last voiced hop."""

    at: int


VoiceEvent = Onset | Faded | Started | Paused | Due | Resumed | Stopped


@dataclass(frozen=True, slots=True)
class EndpointRule:
    """What counts as speech, as a pause, and as the end."""

    min_speech_ms: int
    pause_ms: int  # silence after which an answer is prepared
    silence_min_ms: int  # no shorter silence ends a turn
    silence_max_ms: int  # no turn outlasts a longer one
    pre_roll_ms: int  # kept from before the start: the detector needs a moment to be sure


class Endpoint:
    """Turn a level and a score a hop into voice activity.

    Samples are counted from `at` and only ever grow. `wait_ms` is the silence that ends the turn, None until
    it is known; voice makes it unknown again.
    """

    def __init__(self, rule: EndpointRule, *, rate_hz: int, at: int = 0) -> None:
        def samples(ms: int) -> int:
            return ms * rate_hz // 1000

        self._rate_hz = rate_hz
        self._min_speech = samples(rule.min_speech_ms)
        self._pause = samples(rule.pause_ms)
        self._earliest = samples(max(rule.silence_min_ms, rule.pause_ms))
        self._latest = samples(max(rule.silence_max_ms, rule.silence_min_ms))
        self.at = at  # samples looked at
        self.speaking = False
        self.wait_ms: int | None = None
        self.onset: int | None = None  # where the present stretch of voice began
        self._told = False  # of the onset
        self._unsure = samples(_UNSURE_MS)
        self._noise = False  # what is heard was given that long
        self._still = 0  # samples of a lull before it is speech
        self._voiced = 0  # samples of voice since the onset
        self._last_voiced = at  # the sample after the last voiced hop
        self._paused = False
        self._asked = False  # how long to wait
        self._up_hops = 0
        self._peak_db = -120.0
        self._floor_db = _FLOOR_DBFS

    @property
    def paused(self) -> bool:
        """Is an utterance open whose speaker is silent?"""
        return self._paused

    def push(self, level_dbfs: float, score: float) -> VoiceEvent | None:
        """Take the next hop: its level, and the score of the last window that is whole."""
        begin, self.at = self.at, self.at + HOP
        up = self._is_up(level_dbfs, score)
        if self.speaking:
            return self._speaking(begin, up, score)
        loud = self._up_hops >= _LOUD_HOPS and level_dbfs >= _LOUD_DBFS
        return self._silent(begin, up, loud, score)

    def stop(self) -> Stopped | None:
        """End the open utterance now, whatever the silence; None when there is none."""
        if not self.speaking:
            return None
        self.speaking, self.onset = False, None
        self._voiced = self._still = 0
        self._paused = self._asked = self._told = False
        self.wait_ms = None
        return Stopped(self._last_voiced)

    def _silent(self, begin: int, up: bool, loud: bool, score: float) -> VoiceEvent | None:
        """Nobody speaks yet."""
        sounds = loud or (score >= (SILENCE_SCORE if self._voiced else _ONSET_SCORE) and (up or self._told))
        self._still = 0 if sounds else self._still + HOP
        if self._still >= (_STILL if self._told else HOP):
            self._noise = self._noise and score >= _ONSET_SCORE
            return self._fade()
        if self._noise and score < VOICE_SCORE:
            return None
        if self.onset is None:
            self.onset = begin
            self._peak_db = -120.0
        if up and (score >= VOICE_SCORE or self._voiced):
            self._voiced += HOP
            self._last_voiced = self.at
        if self._voiced >= self._min_speech:
            self.speaking, self._paused, self._asked, self._told = True, False, False, False
            self._noise = False
            self.wait_ms = None
            return Started(self.onset)
        if not self._told:
            self._told = True
            return Onset(self.onset)
        if self.at - self.onset >= self._unsure and score < VOICE_SCORE:
            self._noise = True
            return self._fade()
        return None

    def _fade(self) -> Faded | None:
        """Forget a voice that was none, or too short to count."""
        told, self._told = self._told, False
        self.onset, self._voiced = None, 0
        return Faded(self.at) if told else None

    def _speaking(self, begin: int, up: bool, score: float) -> VoiceEvent | None:
        if up and score >= SILENCE_SCORE:
            self._last_voiced = self.at
            if self._paused:
                self._paused = self._asked = False
                self.wait_ms = None
                return Resumed(begin)
            return None
        silence = self.at - self._last_voiced
        if not self._paused:
            # A sound that the detector calls no voice delays the pause, and no more than that.
            if silence >= self._pause and (not up or silence >= self._earliest):
                self._paused = True
                return Paused(self._last_voiced)
            return None
        if silence + HOP >= self._earliest and not self._asked:  # the answer counts from the next hop on
            self._asked = True
            return Due(self._last_voiced)
        wait = self._latest if self.wait_ms is None else self.wait_ms * self._rate_hz // 1000
        # Noise that goes on, or a detector that hears a voice where there is no energy, cannot hold a turn.
        no_voice = score < SILENCE_SCORE
        if up or not no_voice:
            wait = max(wait, self._latest if no_voice else 2 * self._latest)
        return self.stop() if silence >= wait else None

    def _is_up(self, level_dbfs: float, score: float) -> bool:
        """Is this hop loud enough to be voice?"""
        if self.onset is not None:
            self._peak_db = max(level_dbfs, self._peak_db - _PEAK_FALLS_DB)
        nobody = self.onset is None and score < _ONSET_SCORE
        self._floor_db = min(level_dbfs, self._floor_db + _FLOOR_RISES_DB * (10 if nobody else 1))
        threshold = max(self._floor_db + _ABOVE_FLOOR_DB, _QUIETEST_DBFS)
        if self.speaking:
            threshold = max(threshold, self._peak_db - _BELOW_PEAK_DB)
        self._up_hops = self._up_hops + 1 if level_dbfs > threshold else 0
        return self._up_hops >= _UP_HOPS
