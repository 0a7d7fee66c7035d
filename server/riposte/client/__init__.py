"""Talk to a Riposte server from Python: no numpy, no models, only aiohttp and msgspec.

from riposte.client import connect

async with connect(modalities=["text"]) as client:
    async for frame in client.turn("turn on the kitchen light"):
        print(frame)
"""

from riposte.client.client import NATIVE_URL, Client, connect
from riposte.client.connection import Settings
from riposte.client.failures import CannotConnect, Closed, TimedOut, error_of
from riposte.client.playout import Playout
from riposte.client.tools import Tool, tool
from riposte.client.turns import Reply, Turn

__all__ = [
    "NATIVE_URL",
    "CannotConnect",
    "Client",
    "Closed",
    "Playout",
    "Reply",
    "Settings",
    "TimedOut",
    "Tool",
    "Turn",
    "connect",
    "error_of",
    "tool",
]
