"""Talk to a Riposte server from Python: no numpy, no models, only aiohttp and msgspec.

from riposte.client import connect

async with connect("ws://127.0.0.1:8000/ws", modalities=["text"]) as client:
    async for frame in client.turn("turn on the kitchen light"):
        print(frame)
"""

from riposte.client.client import CannotConnect, Client, Closed, connect

__all__ = ["CannotConnect", "Client", "Closed", "connect"]
