"""Sound on its way to the server: bytes of any length become `audio` frames."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterable

from riposte.wire.frames import AudioIn, ClientFrame

FRAME_MS = 100  # what whole recordings are cut into; live sound goes out as it comes

Piece = bytes | ClientFrame  # a frame among the sound goes out in its place: End, Cancel, …
Sound = bytes | Iterable[Piece] | AsyncIterable[Piece]


async def frames(sound: Sound, rate_hz: int) -> AsyncIterator[ClientFrame]:
    """Yield s16 mono sound as frames that the server takes. Pieces may end in the middle of a sample."""
    longest = rate_hz * FRAME_MS // 1000 * 2
    odd = b""
    async for piece in _pieces(sound):
        if not isinstance(piece, bytes | bytearray | memoryview):
            yield piece
            continue
        whole = odd + bytes(piece)
        even = len(whole) // 2 * 2
        odd = whole[even:]
        for at in range(0, even, longest):
            yield AudioIn(whole[at : min(at + longest, even)])


async def _pieces(sound: Sound) -> AsyncIterator[Piece]:
    if isinstance(sound, bytes | bytearray | memoryview):
        yield bytes(sound)
    elif isinstance(sound, AsyncIterable):
        async for piece in sound:
            yield piece
    else:
        for piece in sound:
            yield piece
