"""Ask with a sound file, as a microphone would, and save the spoken reply.

python examples/python/speak_wav.py question.wav answer.wav [URL]
"""

import asyncio
import sys
import wave
from collections.abc import AsyncIterator

from riposte.client import NATIVE_URL, connect
from riposte.errors import RiposteError

FRAME_MS = 20


async def paced(pcm: bytes, rate_hz: int) -> AsyncIterator[bytes]:
    """Yield the sound in real time, so that the server hears it as from a microphone."""
    step = rate_hz * FRAME_MS // 1000 * 2  # two bytes a sample
    for at in range(0, len(pcm), step):
        yield pcm[at : at + step]
        await asyncio.sleep(FRAME_MS / 1000)


async def main(question: str, answer: str, url: str) -> None:
    """Push to talk once: the end of the file is the end of the turn."""
    with wave.open(question, "rb") as file:
        if (file.getnchannels(), file.getsampwidth()) != (1, 2):
            sys.exit(f"{question}: one channel of 16 bits is needed")
        pcm, rate_hz = file.readframes(file.getnframes()), file.getframerate()
    async with connect(url, audio_in_hz=rate_hz, turn_detection="none") as client:
        reply = await client.speak(paced(pcm, rate_hz)).reply()
    print(f"you: {reply.transcript}\nriposte: {reply.text}")
    with wave.open(answer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(reply.rate_hz)
        file.writeframes(reply.pcm)


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    try:
        asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3] if len(sys.argv) > 3 else NATIVE_URL))
    except RiposteError as error:
        sys.exit(f"speak_wav: {error}")
