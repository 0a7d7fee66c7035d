"""Hands-free: stream a sound file in real time and let the server find the turns in it.

python examples/python/listen.py talk.wav [URL]
"""

import asyncio
import sys
import wave
from collections.abc import AsyncIterator

from riposte.client import NATIVE_URL, connect
from riposte.errors import RiposteError
from riposte.wire.frames import Done, Speech, Token, Transcript

FRAME_MS = 20


async def paced(pcm: bytes, rate_hz: int) -> AsyncIterator[bytes]:
    """Yield the sound in real time, and a second of silence, in which the last turn ends."""
    step = rate_hz * FRAME_MS // 1000 * 2  # two bytes a sample
    sound = pcm + bytes(2 * rate_hz)
    for at in range(0, len(sound), step):
        yield sound[at : at + step]
        await asyncio.sleep(FRAME_MS / 1000)


async def main(talk: str, url: str) -> None:
    """Show what happens, as it happens."""
    with wave.open(talk, "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            sys.exit(f"{talk}: one channel of 16 bits is needed")
        pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    async with connect(url, audio_in_hz=rate_hz) as client:
        async for frame in client.listen(paced(pcm, rate_hz)):
            match frame:
                case Speech():
                    print(f"[speech {frame.state} at {frame.at_ms} ms]")
                case Transcript(final=True):
                    print(f"you: {frame.text}")
                case Token():
                    print(frame.text, end="", flush=True)
                case Done():
                    print(f"\n[turn {frame.turn}: {frame.reason}]")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else NATIVE_URL))
    except RiposteError as error:
        sys.exit(f"listen: {error}")
