"""What people say to an open microphone, and how: new sentences, many voices, pauses inside.

The sound is the server's own voice (POST /tts), made before anything is measured.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import TypeVar

import aiohttp
import numpy as np
from numpy.typing import NDArray

from bench.material import MICROPHONE_HZ, VOICED, Sentences, speak
from engine_build.pico.grammar import is_whole

Samples = NDArray[np.int16]
T = TypeVar("T")

SPEEDS = (0.92, 1.0, 1.08)
BACKCHANNELS = ("mm-hmm", "yes", "okay", "uh-huh", "right")
LONGEST_S = 9.0  # pico hears 10 s at a time
MIX = (
    "whole sentences of pico's grammar as a user says them, none that it was trained on, 2 to 13 words;"
    " all English voices of espeak-ng, at 0.92, 1 and 1.08 times their speed and pitch"
)

_AT_ONCE = 4
_COMMA_MS = 120  # espeak-ng's own is 180 and more; the stop in a "t" or "k" is up to 70
# Nobody ends a sentence with these.
_DANGLING = frozenset(
    ["a", "an", "and", "are", "for", "from", "is", "my", "of", "our", "than", "the", "to", "with", "your"]
)


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence and its sound at 16 kHz, from the first voiced sample to the last."""

    text: str
    voice: str
    pcm: Samples


@dataclass(frozen=True, slots=True)
class Halves:
    """A sentence that somebody pauses in."""

    first: str
    second: str
    finished: bool  # the first half is a sentence by itself

    @property
    def text(self) -> str:
        """The whole."""
        return f"{self.first} {self.second}"


@dataclass(frozen=True, slots=True)
class Paused:
    """Such a sentence, spoken. `stops` is the sample after the first half, `resumes` the second's first."""

    halves: Halves
    voice: str
    pcm: Samples
    stops: int
    resumes: int


def users_sentences(seed: int) -> Sentences:
    """Draw what a user says: whole sentences, none of the assistant's replies."""
    return Sentences(seed, is_whole)


def unfinished(sentences: Iterable[str], rng: random.Random) -> Iterator[Halves]:
    """Cut sentences where nobody could take them for finished: "turn on the … kitchen lights"."""
    return _cut(sentences, rng, lambda first: first.split()[-1] in _DANGLING and not is_whole(first), False)


def finished(sentences: Iterable[str], rng: random.Random) -> Iterator[Halves]:
    """Cut sentences where they could be over: "turn on the lights … in the kitchen"."""
    return _cut(sentences, rng, lambda first: len(first.split()) > 2 and is_whole(first), True)


def _cut(
    sentences: Iterable[str], rng: random.Random, fits: Callable[[str], bool], whole: bool
) -> Iterator[Halves]:
    for sentence in sentences:
        words = sentence.split()
        places = [at for at in range(2, len(words)) if fits(" ".join(words[:at]))]
        if places:
            at = rng.choice(places)
            yield Halves(" ".join(words[:at]), " ".join(words[at:]), whole)


class Speakers:
    """All the English voices of a server in turn, at several speeds."""

    def __init__(self, http: aiohttp.ClientSession, url: str, voices: Sequence[str], seed: int) -> None:
        self._http = http
        self._url = url
        self._rng = random.Random(seed)
        self._voices = cycle(self._rng.sample(list(voices), len(voices)))

    @classmethod
    async def of(cls, http: aiohttp.ClientSession, url: str, seed: int) -> Speakers:
        """Ask the server which voices it has; its default alone where none is English."""
        async with http.get(f"{url}/voices") as response:
            response.raise_for_status()
            known = await response.json()
        english = [voice["id"] for voice in known if voice["language"].startswith("en")]
        return cls(http, url, english or [known[0]["id"]], seed)

    async def say(self, texts: Sequence[str]) -> list[Spoken]:
        """Return each text in the next voice."""
        return await self._all([self._one(text) for text in texts])

    async def pause(self, halves: Iterator[Halves], count: int, pause_ms: tuple[int, int]) -> list[Paused]:
        """Return `count` sentences with a pause inside, drawn between two lengths.

        Each is one piece of speech: the server speaks it with a comma (unfinished) or a full stop (finished)
        at the place, and the silence that this makes is replaced by the pause.
        """
        made: list[Paused] = []
        while len(made) < count:
            some = [next(halves) for _ in range(count - len(made))]
            made += [one for one in await self._all([self._paused(each, pause_ms) for each in some]) if one]
        return made

    async def _one(self, text: str, as_written: str | None = None) -> Spoken:
        voice, speed = next(self._voices), self._rng.choice(SPEEDS)
        pcm = await speak(self._http, self._url, as_written or text, voice=voice, speed=speed)
        return Spoken(text, voice, np.frombuffer(pcm, "<i2")[: round(LONGEST_S * MICROPHONE_HZ)])

    async def _paused(self, halves: Halves, pause_ms: tuple[int, int]) -> Paused | None:
        """Return None where the place cannot be told from the sound."""
        first, second = halves.first, halves.second
        written = f"{first.capitalize()}. {second.capitalize()}." if halves.finished else f"{first}, {second}"
        pause = self._rng.randint(*pause_ms) * MICROPHONE_HZ // 1000
        spoken = await self._one(halves.text, written)
        place = longest_silence(spoken.pcm)
        if place is None:
            return None
        stops, resumes = place
        silence = np.zeros(pause, np.int16)
        pcm = np.concatenate([spoken.pcm[:stops], silence, spoken.pcm[resumes:]])
        return Paused(halves, spoken.voice, pcm, stops, stops + pause)

    async def _all(self, made: Sequence[Awaitable[T]]) -> list[T]:
        slots = asyncio.Semaphore(_AT_ONCE)

        async def one(each: Awaitable[T]) -> T:
            async with slots:
                return await each

        return list(await asyncio.gather(*map(one, made)))


def longest_silence(pcm: Samples) -> tuple[int, int] | None:
    """Return where the one long silence inside begins and ends; None where there is none, or another."""
    voiced = np.flatnonzero(np.abs(pcm.astype(np.int32)) > VOICED)
    gaps = np.diff(voiced)
    if gaps.size < 2:
        return None
    longest, second = (int(at) for at in np.argsort(gaps)[-1:-3:-1])
    if gaps[longest] < _COMMA_MS * MICROPHONE_HZ // 1000 or gaps[longest] < 1.5 * gaps[second]:
        return None
    return int(voiced[longest]) + 1, int(voiced[longest + 1])
