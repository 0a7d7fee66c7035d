"""Sound of every shape becomes frames that the server takes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from riposte.client.microphone import Sound, frames
from riposte.wire.frames import AudioIn, ClientFrame, End

RATE_HZ = 1_000
LONGEST = 200  # bytes: 100 ms


async def sent(sound: Sound) -> list[ClientFrame]:
    return [frame async for frame in frames(sound, RATE_HZ)]


async def live(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


@pytest.mark.parametrize(
    ("sound", "lengths"),
    [
        (b"", []),
        (bytes(450), [200, 200, 50]),
        (bytearray(4), [4]),
        ([bytes(10), bytes(6)], [10, 6]),
        ([bytes(3), bytes(3)], [2, 4]),
        ([b"", bytes(1)], []),
        (live(bytes(1), bytes(1), bytes(401)), [2, 200, 200]),
    ],
)
async def test_any_sound_is_cut_into_whole_samples(sound: Sound, lengths: list[int]) -> None:
    made = await sent(sound)
    assert [len(frame.pcm) for frame in made if isinstance(frame, AudioIn)] == lengths
    assert max(lengths, default=0) <= LONGEST


async def test_no_byte_is_lost_or_moved() -> None:
    sound = bytes(range(250)) * 3
    pieces = [sound[at : at + 7] for at in range(0, len(sound), 7)]
    assert b"".join(frame.pcm for frame in await sent(pieces) if isinstance(frame, AudioIn)) == sound


async def test_frames_among_the_sound_keep_their_place() -> None:
    assert await sent([bytes(2), End(), bytes(4)]) == [AudioIn(bytes(2)), End(), AudioIn(bytes(4))]
