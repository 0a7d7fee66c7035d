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
from engine_build.pico.grammar.pauses import Pause, sounds_whole

Samples = NDArray[np.int16]
T = TypeVar("T")

SPEEDS = (0.92, 1.0, 1.08)
BACKCHANNELS = ("mm-hmm", "yes", "okay", "uh-huh", "right")
LONGEST_S = 9.0  # pico hears 10 s at a time
MIX = (
    "whole sentences of pico's grammar as a user says them, none that its hearing was trained on, 2 to 13"
    " words; all English voices of espeak-ng, at 0.92, 1 and 1.08 times their speed and pitch"
)

_AT_ONCE = 4
_TRIES = 20
_COMMA_MS = 120  # at the least: espeak-ng's own is 180 and more
_STOP_MS = 80  # the silence in a "t" or "k"; anything longer is a pause that nobody asked for


@dataclass(frozen=True, slots=True)
class Spoken:
    """A sentence and its sound at 16 kHz, from the first voiced sample to the last."""

    text: str
    voice: str
    pcm: Samples


@dataclass(frozen=True, slots=True)
class Paused:
    """A sentence with a pause inside: `stops` is the sample after its first half, `resumes` the next's."""

    halves: Pause
    voice: str
    pcm: Samples
    stops: int
    resumes: int

    @property
    def text(self) -> str:
        """The whole sentence."""
        return " ".join(self.halves)


def users_sentences(seed: int) -> Sentences:
    """Draw what a user says: whole sentences, none of the assistant's replies."""
    return Sentences(seed, sounds_whole)


def split(
    sentences: Iterable[str], rng: random.Random, place: Callable[[str, random.Random], Pause | None]
) -> Iterator[Pause]:
    """Yield the sentences that have such a place (`unfinished_split`, `finished_split`), cut there."""
    for sentence in sentences:
        if (pause := place(sentence, rng)) is not None:
            yield pause


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

    async def pause(
        self, halves: Iterator[Pause], count: int, pause_ms: tuple[int, int], *, falls: bool
    ) -> list[Paused]:
        """Return `count` sentences with a pause inside, drawn between two lengths.

        Each is one piece of speech: the server speaks it with a comma at the place, or with a full stop where
        the voice `falls`, and the silence that this makes is replaced by the pause.
        """
        made: list[Paused] = []
        for _ in range(_TRIES):
            if len(made) == count:
                return made
            some = [self._paused(next(halves), pause_ms, falls) for _ in range(count - len(made))]
            made += [one for one in await self._all(some) if one is not None]
        raise RuntimeError(f"the voice makes no pause at a {'full stop' if falls else 'comma'}")

    async def _one(self, text: str, as_written: str | None = None) -> Spoken:
        voice, speed = next(self._voices), self._rng.choice(SPEEDS)
        pcm = await speak(self._http, self._url, as_written or text, voice=voice, speed=speed)
        return Spoken(text, voice, np.frombuffer(pcm, "<i2")[: round(LONGEST_S * MICROPHONE_HZ)])

    async def _paused(self, halves: Pause, pause_ms: tuple[int, int], falls: bool) -> Paused | None:
        """Return None where the place cannot be told from the sound."""
        before, after = halves
        written = f"{before.capitalize()}. {after.capitalize()}." if falls else f"{before}, {after}"
        pause = self._rng.randint(*pause_ms) * MICROPHONE_HZ // 1000
        spoken = await self._one(f"{before} {after}", written)
        place = longest_silence(spoken.pcm)
        if place is None:
            return None
        stops, resumes = place
        pcm = np.concatenate([spoken.pcm[:stops], np.zeros(pause, np.int16), spoken.pcm[resumes:]])
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
    per_ms = MICROPHONE_HZ // 1000
    if gaps[longest] < _COMMA_MS * per_ms or gaps[second] > _STOP_MS * per_ms:
        return None
    return int(voiced[longest]) + 1, int(voiced[longest + 1])
