"""What the handlers find in the application."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

from riposte.config import Config
from riposte.metrics import Metrics
from riposte.sessions import SessionTable


@dataclass(slots=True)
class ServerState:
    """How the server is; `app` writes it, /health reads it. `parts` says of each role whether it is warm."""

    status: Literal["starting", "healthy", "unhealthy"]
    profile: str
    draining: bool = False
    parts: dict[str, bool] = field(default_factory=dict)


CONFIG = web.AppKey("config", Config)
METRICS = web.AppKey("metrics", Metrics)
SESSIONS = web.AppKey("sessions", SessionTable)
STATE = web.AppKey("state", ServerState)
