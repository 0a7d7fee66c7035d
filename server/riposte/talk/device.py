"""The machine's microphone and loudspeaker, through miniaudio (the extra `talk`).

miniaudio calls back on threads of its own: what is heard goes to the loop's queue, what is to be played is
asked of the `Playout`, which has a lock.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import AsyncGenerator, Generator, Sequence
from types import ModuleType
from typing import Any, Protocol

from riposte.client import Playout
from riposte.errors import RiposteError

PERIOD_MS = 20
PERIODS = 3  # a device holds so many: what it was given 60 ms ago has been heard
QUEUE_S = 2  # of microphone sound that a slow network may delay; then the oldest is lost
SILENT_S = 5.0  # a microphone that gives nothing for so long is gone

_NULL_DEVICES = ("Discard all samples", "NULL ")  # what ALSA and miniaudio offer where there is none
_TRY_FILES = "or try it with files: --wav-in question.wav --wav-out answer.wav"


class NoDevice(RiposteError):
    """There is nothing to hear or to speak with; the text says what to do."""


class Device(Protocol):
    """What a talk hears and speaks with."""

    @property
    def rate_in_hz(self) -> int:
        """The rate of what is heard."""

    @property
    def holds_ms(self) -> int:
        """How long what was taken from the playout waits in the device before it is heard."""

    def microphone(self) -> AsyncGenerator[bytes, None]:
        """Yield what is heard, s16 mono, as it comes."""

    def play(self, playout: Playout, rate_hz: int) -> None:
        """Begin to play what the playout gives."""

    async def aclose(self) -> None:
        """Stop both, and keep nothing open."""


class SoundCard:
    """Microphone and loudspeaker. Names are numbers of `list_devices`, or parts of names; None: the usual."""

    rate_in_hz = 16_000
    holds_ms = PERIOD_MS * PERIODS

    def __init__(
        self, source: str | None = None, sink: str | None = None, *, backends: Sequence[str] = ()
    ) -> None:
        self._library = _library()
        self._backends = _backends(self._library, backends)
        found = _devices(self._library, self._backends)
        self._source = _chosen(found.get_captures(), source, "microphone", "--input", bool(backends))
        self._sink = _chosen(found.get_playbacks(), sink, "loudspeaker", "--output", bool(backends))
        self._found = found  # owns the memory of the ids
        self._open: list[Any] = []
        self._heard: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_S * 1000 // PERIOD_MS)

    async def microphone(self) -> AsyncGenerator[bytes, None]:
        """Yield what is heard, s16 mono, as it comes. Raises NoDevice when it falls silent for good."""
        loop = asyncio.get_running_loop()

        def hear() -> Generator[None, bytearray, None]:
            while True:
                pcm = bytes((yield))
                loop.call_soon_threadsafe(self._queue, pcm)

        self._start("CaptureDevice", hear(), self._source, "input", self.rate_in_hz)
        while True:
            try:
                async with asyncio.timeout(SILENT_S):
                    pcm = await self._heard.get()
            except TimeoutError:
                raise NoDevice(
                    f"the microphone gave nothing for {SILENT_S:g} s; is it still plugged in?"
                ) from None
            yield pcm

    def play(self, playout: Playout, rate_hz: int) -> None:
        """Begin to play what the playout gives. Raises NoDevice."""

        def speak() -> Generator[bytes, int, None]:
            samples = yield b""
            while True:
                samples = yield playout.pull(samples)

        self._start("PlaybackDevice", speak(), self._sink, "output", rate_hz)

    async def aclose(self) -> None:
        """Stop both devices; waits for their threads."""
        for device in self._open:
            device.close()
        self._open.clear()

    def _start(
        self, kind: str, callback: Generator[Any, Any, None], chosen: Any, role: str, rate_hz: int
    ) -> None:
        next(callback)
        options = {f"{role}_format": self._library.SampleFormat.SIGNED16, "sample_rate": rate_hz}
        try:
            device = getattr(self._library, kind)(
                nchannels=1,
                buffersize_msec=PERIOD_MS,
                callback_periods=PERIODS,
                device_id=chosen["id"] if chosen is not None else None,
                backends=self._backends,
                app_name="riposte",
                **options,
            )
            self._open.append(device)
            device.start(callback)
        except self._library.MiniaudioError as exc:
            raise NoDevice(f"the {role} device cannot be opened ({exc.args[0]}); is it in use?") from exc

    def _queue(self, pcm: bytes) -> None:
        if self._heard.full():
            self._heard.get_nowait()
        self._heard.put_nowait(pcm)


def list_devices(*, backends: Sequence[str] = ()) -> list[str]:
    """Return a line for each device: what it is, its number, its name. Raises NoDevice."""
    library = _library()
    found = _devices(library, _backends(library, backends))
    kinds = (("input", found.get_captures()), ("output", found.get_playbacks()))
    lines = [
        f"{kind:6}  {number:2}  {device['name']}"
        for kind, devices in kinds
        for number, device in enumerate(_real(devices, bool(backends)))
    ]
    if not lines:
        raise NoDevice(f"this machine has no sound devices; plug one in, {_TRY_FILES}")
    return lines


def _library() -> ModuleType:
    try:
        return importlib.import_module("miniaudio")
    except ImportError as exc:
        raise NoDevice(
            "sound devices need the extra `talk`: pip install 'riposte-server[talk]' "
            f"(from a checkout: pip install -e '.[talk]'), {_TRY_FILES}"
        ) from exc


def _backends(library: ModuleType, names: Sequence[str]) -> list[Any]:
    """Return those named; else all but the null one, which would pretend that there is a device."""
    if names:
        return [library.Backend[name] for name in names]
    return [backend for backend in library.Backend if backend.name not in ("NULL", "CUSTOM")]


def _devices(library: ModuleType, backends: list[Any]) -> Any:
    try:
        return library.Devices(backends)
    except library.MiniaudioError as exc:
        raise NoDevice(
            f"no sound system answers (on Linux: ALSA, PulseAudio or PipeWire); install one, {_TRY_FILES}"
        ) from exc


def _chosen(
    devices: list[dict[str, Any]], name: str | None, what: str, flag: str, null: bool
) -> dict[str, Any] | None:
    real = _real(devices, null)
    if not real:
        raise NoDevice(f"this machine has no {what} that can be used; plug one in, {_TRY_FILES}")
    if name is None:
        return None
    if name.isdecimal() and int(name) < len(real):
        return real[int(name)]
    fits = [device for device in real if name.lower() in device["name"].lower()]
    if len(fits) != 1:
        raise NoDevice(
            f"{flag} {name!r} fits {len(fits) or 'none'} of the devices; see `riposte talk --list-devices`"
        )
    return fits[0]


def _real(devices: list[dict[str, Any]], null: bool) -> list[dict[str, Any]]:
    return [device for device in devices if null or not device["name"].startswith(_NULL_DEVICES)]
