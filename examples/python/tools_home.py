"""A pretend home: Riposte switches its lights, sets a timer that rings, and keeps a shopping list.

python examples/python/tools_home.py [URL]
    turn on the kitchen light
    set a timer for ten seconds
    put milk and eggs on my shopping list
"""

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from riposte.client import NATIVE_URL, Tool, connect, tool
from riposte.errors import RiposteError
from riposte.wire.frames import Token

# What the model is told of each tool; `pico` was trained on these very schemas.
SCHEMAS = json.loads((Path(__file__).parents[1] / "home_tools.json").read_text())


class Home:
    """What the tools change. What they raise is told to the model, which tells the user."""

    def __init__(self) -> None:
        self.lights: dict[str, str] = {}
        self.items: list[str] = []
        self.rings_at: float | None = None
        self._ringing: asyncio.Task[None] | None = None

    def tools(self) -> list[Tool]:
        """Give each schema its function."""
        return [tool(getattr(self, schema["function"]["name"]), **schema["function"]) for schema in SCHEMAS]

    def set_light(
        self, light: str, room: str = "", state: str = "", brightness: int | None = None, colour: str = ""
    ) -> dict[str, Any]:
        """Switch, dim or colour a light."""
        if brightness is not None and not 0 <= brightness <= 100:
            raise ValueError("that is too bright")
        name = f"{room} {light}".strip()
        self.lights[name] = state or colour or f"{brightness} percent"
        show(f"{name}: {self.lights[name]}")
        return {"ok": True}

    def timer(self, action: str, hours: int = 0, minutes: int = 0, seconds: int = 0) -> dict[str, Any]:
        """Start, cancel or check the one timer."""
        if action == "start":
            self._stop()
            length_s = hours * 3600 + minutes * 60 + seconds
            self.rings_at = time.monotonic() + length_s
            self._ringing = asyncio.create_task(self._ring(length_s))
            show(f"timer: {length_s} s")
            return {"ok": True}
        if self.rings_at is None:
            raise ValueError("no timer is running")
        if action == "cancel":
            self._stop()
            show("timer: cancelled")
            return {"ok": True}
        left_s = round(self.rings_at - time.monotonic())
        return {"minutes": left_s // 60, "seconds": left_s % 60}

    def shopping_list(self, action: str, items: Sequence[str] = ()) -> dict[str, Any]:
        """Change or read the list."""
        if action == "add":
            self.items += [item for item in items if item not in self.items]
        elif action == "remove":
            self.items = [item for item in self.items if item not in items]
        elif action == "clear":
            self.items = []
        show(f"list: {', '.join(self.items) or 'empty'}")
        return {"items": self.items}

    async def _ring(self, length_s: float) -> None:
        await asyncio.sleep(length_s)
        self.rings_at = None
        show("timer: it rings!\a")

    def _stop(self) -> None:
        if self._ringing is not None:
            self._ringing.cancel()
        self.rings_at = None


def show(change: str) -> None:
    """Say what happened in the house."""
    print(f"[{change}]", flush=True)


async def main(url: str) -> None:
    """Chat, with the home's tools on offer."""
    home = Home()
    async with connect(url, modalities=["text"], tools=home.tools()) as client:
        while line := await asyncio.to_thread(sys.stdin.readline):
            async for frame in client.turn(line.strip()):
                if isinstance(frame, Token):
                    print(frame.text, end="", flush=True)
            print(flush=True)


if __name__ == "__main__":
    try:
        asyncio.run(main(sys.argv[1] if len(sys.argv) > 1 else NATIVE_URL))
    except RiposteError as error:
        sys.exit(f"tools_home: {error}")
