"""Words for one passage of sound: spectrogram, encoder, greedy decoding, and what guards them.

All of it runs in the model's own thread, as steps between which others may go first.

What was heard of the same sound a moment ago is a draft: the decoder looks at all of it in one pass, which
costs little more than one token does, and goes on from the first token that it would have chosen otherwise.
That gives the very tokens that decoding one by one gives.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeVar

import numpy as np

from riposte.audio import loudest_dbfs, loudness_range_db
from riposte.backends.segments import pause_in
from riposte.backends.whisper_graph import Decoding, GaveWay, Stop, WhisperGraph
from riposte.backends.whisper_text import WhisperText, budget, without_loop
from riposte.interfaces import SPEECH_RATE_HZ, PcmF32
from riposte.mel import HOP, GrowingMel, known_frames, normalise

_log = logging.getLogger(__name__)

# Quieter than this throughout is no microphone that somebody speaks into: a 16-bit one's own hiss is at
# -80 to -65 dBFS, a whisper across a room about -50.
_SILENCE_DBFS = -65.0
# Sound whose loudness never changes is a fan or a tone, to which small models put words. A syllable has
# a beginning and an end within this time.
_STEADY = SPEECH_RATE_HZ * 3 // 10
_STEADY_DB = 3.0
# openai/whisper's rule: no speech when the model thinks so and is unsure of its words too.
_NO_SPEECH = 0.6
_UNSURE = -1.0
_POSITION = 2  # frames: 20 ms, one position of the encoder
_DIVISIBLE = 2 * SPEECH_RATE_HZ  # samples; nobody says more tokens in less than a cache holds
# What is put behind the speech is what its own quietest frames sound like. docs/log.md has the figures.
_QUIET_SHARE = 0.1

T = TypeVar("T")
Tokens = tuple[int, ...]
_Choice = tuple[int, float]  # a token and its log-probability


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of sound to be heard, and what is known of it. `mel` is the model thread's.

    `promised`: tokens that its words begin with, whatever the model thinks now. `draft`: tokens heard in
    much the same sound, to be looked at first.
    """

    pcm: PcmF32
    mel: GrowingMel
    language: str | None
    promised: Tokens = ()
    draft: Tokens = ()


@dataclass(frozen=True, slots=True)
class Words:
    """What was heard in a passage. `logprobs` say how sure the model was of each token.

    `tokens` are empty when it was too much to be heard in one.
    """

    text: str
    tokens: Tokens = ()
    logprobs: tuple[float, ...] = ()


@dataclass(slots=True)
class _Decoded:
    tokens: Sequence[int]
    logprobs: Sequence[float]  # one more than tokens at the end token
    lost: Literal["circles", "budget", "cache"] | None  # what ended it, other than the end token
    no_speech: bool


class Hearing:
    """Hears passages with one model. Lengths are in samples at 16 kHz.

    `window` is what the model hears at once, `tail` what is put behind the speech, `floor` the least that
    is heard; `tokens_a_second` bounds what can be said.
    """

    def __init__(
        self,
        graph: WhisperGraph,
        text: WhisperText,
        *,
        window: int,
        tail: int,
        floor: int,
        tokens_a_second: float,
    ) -> None:
        self.graph = graph
        self.text = text
        self.window = window
        self.tail = tail
        self._floor = floor
        self._tokens_a_second = tokens_a_second

    @property
    def mels(self) -> int:
        """Rows of a spectrogram's frame."""
        return self.graph.mels

    def hear(self, passage: Passage, stop: Stop) -> Generator[None, None, Words]:
        """Yield between steps; return the passage's words. Raises Stopped."""
        tokens: Tokens = ()
        logprobs: tuple[float, ...] = ()
        if self._may_be_speech(passage.pcm):
            size = passage.pcm.size
            raw = passage.mel.frames(passage.pcm)
            short = min(max(size + self.tail, self._floor), self.window)
            for samples in (short, self.window):
                mel = normalise(_in_quiet(raw, samples))
                cross = yield from _run(partial(self.graph.encode, mel, stop))
                decoded = yield from self._decode(cross, passage, stop)
                if decoded.lost == "cache" and size >= _DIVISIBLE:
                    return (yield from self._hear_halves(passage, stop))
                if decoded.lost is None or samples == self.window:
                    break
                ms = size * 1000 // SPEECH_RATE_HZ
                _log.debug("lost the thread in %d ms (%s), once more", ms, decoded.lost)
            if not decoded.no_speech:
                tokens = tuple(decoded.tokens)
                logprobs = tuple(decoded.logprobs[: len(tokens)])
        promised = passage.promised
        if tokens[: len(promised)] != promised:
            tokens, logprobs = promised, (0.0,) * len(promised)  # a guard would take back what was promised
        return Words(self.text.words(tokens), tokens, logprobs)

    @staticmethod
    def _may_be_speech(pcm: PcmF32) -> bool:
        if known_frames(pcm.size) == 0 or loudest_dbfs(pcm, SPEECH_RATE_HZ) < _SILENCE_DBFS:
            return False
        return pcm.size < _STEADY or loudness_range_db(pcm, SPEECH_RATE_HZ) >= _STEADY_DB

    def _hear_halves(self, passage: Passage, stop: Stop) -> Generator[None, None, Words]:
        """Hear what has more tokens than the cache holds as two, cut at a pause near the middle."""
        pcm = passage.pcm
        cut = pause_in(pcm[: pcm.size * 3 // 4], pcm.size // 4)
        halves = []
        for half in (pcm[:cut], pcm[cut:]):
            part = Passage(half, GrowingMel(self.mels), passage.language)
            halves.append((yield from self.hear(part, stop)).text)
        text = self.text.joined(halves, passage.language)
        promised = self.text.words(passage.promised)
        return Words(text if text.startswith(promised) else promised)

    def _decode(self, cross: dict[str, Any], passage: Passage, stop: Stop) -> Generator[None, None, _Decoded]:
        """Choose the most probable token again and again, until the end token or a guard."""
        text = self.text
        cache = self.graph.take_cache()
        try:
            decoding = Decoding(self.graph, cross, cache)
            prompt = text.prompt(passage.language or text.languages[0])
            no_speech: float | None = None
            if passage.language is None and (start := text.start()):
                ((token, _),) = yield from _run(partial(decoding.step, start, text.language_bias, stop))
                no_speech = decoding.no_speech
                prompt = text.prompt(text.language_of(token))[len(start) :]
            most = budget(passage.pcm.size / SPEECH_RATE_HZ, self._tokens_a_second)
            room = decoding.room - len(prompt)
            chosen = yield from self._begin(decoding, prompt, passage, stop)
            if no_speech is None:
                no_speech = decoding.no_speech
            tokens, logprobs = list[int](), list[float]()

            def silent() -> bool:
                return no_speech > _NO_SPEECH and sum(logprobs) / len(logprobs) < _UNSURE

            while True:
                token, logprob = chosen.popleft()
                logprobs.append(logprob)
                if token == text.end:
                    return _Decoded(tokens, logprobs, None, silent())
                tokens.append(token)
                once = without_loop(tokens)
                if once is not None:
                    return _Decoded(once, logprobs, "circles", silent())
                if len(tokens) == min(most, room):
                    return _Decoded(tokens, logprobs, "cache" if room <= most else "budget", silent())
                if not chosen:
                    chosen.extend((yield from _run(partial(decoding.step, (token,), text.bias, stop))))
        finally:
            self.graph.give_back(cache)

    def _begin(
        self, decoding: Decoding, prompt: Tokens, passage: Passage, stop: Stop
    ) -> Generator[None, None, deque[_Choice]]:
        """Run the prompt; return what follows: one token, or as much of the draft as stands and one more."""
        begin, promised = decoding.position, passage.promised
        alike = passage.draft[: len(promised)] == promised
        draft = (passage.draft if alike else promised)[: decoding.room - len(prompt)]
        alone = partial(decoding.step, prompt, self.text.first_bias, stop)
        if not draft or (not promised and self.text.first_bias[0, draft[0]] < 0):
            return deque((yield from _run(alone))[-1:])
        rows = yield from _run(partial(decoding.step, prompt + draft, self.text.bias, stop))
        rows = rows[len(prompt) - 1 :]
        accepted = len(promised)
        while accepted < len(draft) and rows[accepted][0] == draft[accepted]:
            accepted += 1
        # What must not come first was not kept from coming first in that pass. It matters where the first
        # token is still open, and for the opinion that there are no words at all.
        if accepted == 0 or decoding.no_speech > _NO_SPEECH:
            decoding.rewind(begin)
            rows[0] = (yield from _run(alone))[-1]
        decoding.rewind(begin + len(prompt) + accepted)
        said = ((token, logprob) for token, (_, logprob) in zip(draft[:accepted], rows, strict=False))
        return deque([*said, rows[accepted]])


def _run(run: Callable[[], T]) -> Generator[None, None, T]:
    """Let others go first, then run; again, when it was broken off for one of them."""
    while True:
        yield
        try:
            return run()
        except GaveWay:
            continue


def _in_quiet(raw: PcmF32, samples: int) -> PcmF32:
    """Put silence behind raw frames, up to so many samples in whole positions of the encoder.

    It is what the quietest of the frames sound like: silence of a room with a fan is not digital silence,
    and models that never heard a fan stop are led astray by it.
    """
    frames = -(-samples // (_POSITION * HOP)) * _POSITION
    raw = raw[:frames]
    count = max(1, round(_QUIET_SHARE * len(raw)))
    quietest = raw[np.argsort(raw.mean(axis=1), kind="stable")[:count]]
    quiet = np.log10(np.mean(10.0**quietest, axis=0, dtype=np.float64)).astype(np.float32)
    return np.concatenate([raw, np.broadcast_to(quiet, (frames - len(raw), quiet.size))])
