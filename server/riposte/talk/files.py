"""Sound files in the place of devices, in real time: a talk that can be tried and tested without any."""

from __future__ import annotations

import asyncio
import wave
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from pathlib import Path

from riposte.client import Playout
from riposte.errors import RiposteError

STEP_MS = 20
TRAIL_S = 1.0  # of silence after the file, so that voice activity sees an end


class SoundFiles:
    """One file is heard, another is spoken into (or nothing). Both advance with the clock."""

    holds_ms = 0

    def __init__(self, wav_in: Path, wav_out: Path | None = None) -> None:
        self._pcm, self.rate_in_hz = read_wav(wav_in)
        self._wav_out = wav_out
        if wav_out is not None:
            try:
                wav_out.touch()
            except OSError as exc:
                raise RiposteError(f"{wav_out} cannot be written: {exc.strerror or exc}") from exc
        self._speaking: asyncio.Task[None] | None = None

    async def microphone(self) -> AsyncGenerator[bytes, None]:
        """Yield the file and a second of silence, in steps of 20 ms, as the clock goes."""
        step = self.rate_in_hz * STEP_MS // 1000 * 2
        sound = self._pcm + bytes(2 * int(TRAIL_S * self.rate_in_hz))
        async for tick in _clock():
            if tick * step >= len(sound):
                return
            yield sound[tick * step : (tick + 1) * step]

    def play(self, playout: Playout, rate_hz: int) -> None:
        """Begin to write what the playout gives."""
        self._speaking = asyncio.create_task(self._speak(playout, rate_hz), name="talk-wav-out")

    async def aclose(self) -> None:
        """End the file. Raises what kept it from being written."""
        if self._speaking is not None:
            self._speaking.cancel()
            with suppress(asyncio.CancelledError):
                await self._speaking

    async def _speak(self, playout: Playout, rate_hz: int) -> None:
        # Written at the end, whole: `wave` must seek to mend its header otherwise.
        spoken = bytearray()
        try:
            async for _ in _clock():
                spoken += playout.pull(rate_hz * STEP_MS // 1000)
        finally:
            if self._wav_out is not None:
                write_wav(self._wav_out, bytes(spoken), rate_hz)


def read_wav(path: Path) -> tuple[bytes, int]:
    """Return the samples, s16 mono, and their rate. Raises RiposteError for other files."""
    try:
        with wave.open(str(path), "rb") as file:
            form = (file.getnchannels(), 8 * file.getsampwidth())
            pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    except OSError as exc:
        raise RiposteError(f"{path} cannot be read: {exc.strerror or exc}") from exc
    except (wave.Error, EOFError) as exc:
        raise RiposteError(f"{path} is no WAV file of plain PCM ({str(exc) or 'it is cut short'})") from exc
    if form != (1, 16):
        raise RiposteError(
            f"{path} has {form[0]} channels of {form[1]} bits; one of 16 is needed: "
            f"ffmpeg -i {path.name} -ac 1 -c:a pcm_s16le mono.wav"
        )
    return pcm, rate_hz


def write_wav(path: Path, pcm: bytes, rate_hz: int) -> None:
    """Write samples, s16 mono. Raises RiposteError."""
    try:
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate_hz)
            file.writeframes(pcm)
    except OSError as exc:
        raise RiposteError(f"{path} cannot be written: {exc.strerror or exc}") from exc


async def _clock() -> AsyncIterator[int]:
    """Count steps of 20 ms as they pass; a late one is caught up with."""
    loop = asyncio.get_running_loop()
    began, tick = loop.time(), 0
    while True:
        yield tick
        tick += 1
        await asyncio.sleep(max(0.0, began + tick * STEP_MS / 1000 - loop.time()))
