"""Type with Riposte: a line is a turn, and its words appear as they are made.

python examples/python/chat.py [URL]
"""

import asyncio
import sys

from riposte.client import NATIVE_URL, connect
from riposte.errors import RiposteError
from riposte.wire.frames import Token


async def main(url: str) -> None:
    """Chat until the input ends."""
    async with connect(url, modalities=["text"]) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            async for frame in client.turn(line.strip()):
                if isinstance(frame, Token):
                    print(frame.text, end="", flush=True)
            print()


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else NATIVE_URL))
    except RiposteError as error:
        sys.exit(f"chat: {error}")
