"""What is said to the server: sentences that were never said before in this run, and their sound.

Unique input is the point: no bench here can be pleased by a cache.
"""

from __future__ import annotations

import asyncio
import random
import struct
from collections.abc import AsyncGenerator, Callable, Iterator
from http import HTTPStatus

import aiohttp
import numpy as np
import soxr

from engine_build.pico.grammar import spoken_sentence

MICROPHONE_HZ = 16_000
VOICED = 300  # of 32,767: what is louder is sound, 1 % of full scale
MIN_SPEECH_S, MAX_SPEECH_S = 2.4, 3.6  # "an utterance of 3 s"
_AT_ONCE = 4  # synthesis goes before everything that is measured; the server paces no more than this well
_MAX_HEADER_BYTES = 4096


class Sentences:
    """Sentences of pico's grammar in an order that the seed decides, each once; `keep` leaves some out."""

    def __init__(self, seed: int, keep: Callable[[str], bool] = lambda sentence: True) -> None:
        self._rng = random.Random(seed)
        self._keep = keep
        self._said: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        for _ in range(10_000):
            sentence = spoken_sentence(self._rng, "test")
            if sentence not in self._said and self._keep(sentence):
                self._said.add(sentence)
                return sentence
        raise RuntimeError("the grammar has no sentence left that was not said already")

    def long(self) -> str:
        """Return what takes about 3 s to say: a long sentence, or two short ones."""
        sentence = next(self)
        while len(sentence) < 36:
            sentence = f"{sentence} and {next(self)}"
        return sentence


async def utterances(http: aiohttp.ClientSession, url: str, sentences: Sentences, count: int) -> list[bytes]:
    """Let the server itself speak `count` sentences, and return them as a microphone would hear them."""
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one() -> bytes:
        async with slots:
            for _ in range(50):
                pcm = await speak(http, url, sentences.long())
                if MIN_SPEECH_S <= len(pcm) / 2 / MICROPHONE_HZ <= MAX_SPEECH_S:
                    return pcm
            raise RuntimeError(f"not one of fifty sentences takes {MIN_SPEECH_S} to {MAX_SPEECH_S} s to say")

    return list(await asyncio.gather(*(one() for _ in range(count))))


async def speak(
    http: aiohttp.ClientSession, url: str, text: str, *, voice: str | None = None, speed: float = 1.0
) -> bytes:
    """Let the server speak a text, and return it as a microphone hears it, without the silence around it.

    Another `speed` changes the pitch with it, as a record does.
    """
    for _ in range(60):
        async with http.post(f"{url}/tts", json={"text": text, "voice": voice}) as response:
            if response.status not in (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE):
                response.raise_for_status()
                rate_hz, samples = wav_samples(await response.read())
                return as_heard(rate_hz * speed, samples)
        await asyncio.sleep(1)  # so many requests a minute; this goes before anything that is measured
    raise RuntimeError("POST /tts refuses for a minute already")


def as_heard(rate_hz: float, samples: np.ndarray[tuple[int], np.dtype[np.int16]]) -> bytes:
    """Return a voice's sound as a microphone hears it, without the silence around it; b"" for silence."""
    heard = soxr.resample(samples, rate_hz, MICROPHONE_HZ)
    voiced = np.flatnonzero(np.abs(heard) > VOICED)
    if not voiced.size:
        return b""
    return bytes(heard[voiced[0] : voiced[-1] + 1].astype("<i2").tobytes())


def wav_samples(wav: bytes) -> tuple[int, np.ndarray[tuple[int], np.dtype[np.int16]]]:
    """Return rate and samples of a 16-bit mono WAV, streamed ones with a made-up length too."""
    offset = data_offset(wav)
    if offset is None:
        raise ValueError("not a WAV file")
    rate_hz = int(struct.unpack_from("<I", wav, wav.index(b"fmt ") + 12)[0])
    whole = (len(wav) - offset) // 2 * 2
    return rate_hz, np.frombuffer(wav, dtype="<i2", offset=offset, count=whole // 2).astype(np.int16)


def data_offset(head: bytes) -> int | None:
    """Return where the sound begins in a WAV's first bytes; None while they are too few to say."""
    at = head.find(b"data", 12, _MAX_HEADER_BYTES)
    return None if at < 0 or at + 8 > len(head) else at + 8


async def microphone(pcm: bytes, chunk_ms: int = 40) -> AsyncGenerator[bytes, None]:
    """Yield the sound in pieces, each when a microphone would have it: speaking takes its time."""
    loop = asyncio.get_running_loop()
    began = loop.time()
    chunk = MICROPHONE_HZ * chunk_ms // 1000 * 2
    for number, at in enumerate(range(0, len(pcm), chunk), start=1):
        await asyncio.sleep(max(0.0, began + number * chunk_ms / 1000 - loop.time()))
        yield pcm[at : at + chunk]
