"""GET /sessions, GET and DELETE /sessions/{id}: what the server remembers, for whoever may ask it."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
from aiohttp import web

from riposte.endpoints.keys import SESSIONS
from riposte.errors import Unavailable, UnknownSession
from riposte.history import History
from riposte.history_db import SessionRow

_NOT_KEPT = {"Cache-Control": "no-store"}


def add_routes(app: web.Application) -> None:
    """Add the routes of this module."""
    app.router.add_get("/sessions", list_sessions)
    app.router.add_get("/sessions/{id}", export_session)
    app.router.add_delete("/sessions/{id}", delete_session)


async def list_sessions(request: web.Request) -> web.Response:
    """GET /sessions: every conversation that is kept, the latest used first."""
    listed = await _history(request).sessions()
    connected = {session.id for session in request.app[SESSIONS] if session.attached}
    return _json(
        [
            {**_described(row.session), "turns": row.turns, "connected": row.session.id in connected}
            for row in listed
        ]
    )


async def export_session(request: web.Request) -> web.Response:
    """GET /sessions/{id}: one conversation, whole."""
    stored = await _history(request).export(request.match_info["id"])
    if stored is None:
        raise _unknown()
    turns = [{**msgspec.to_builtins(turn), "at": _time(turn.at)} for turn in stored.turns]
    return _json({**_described(stored.session), "settings": stored.session.settings, "turns": turns})


async def delete_session(request: web.Request) -> web.Response:
    """DELETE /sessions/{id}: forget it, in memory and on disk; its client is hung up on."""
    if not await request.app[SESSIONS].delete(request.match_info["id"]):
        raise _unknown()
    return web.Response(status=204)


def _history(request: web.Request) -> History:
    history = request.app[SESSIONS].history
    if history is None:
        raise Unavailable("this server keeps no history: history.enabled is false")
    return history


def _unknown() -> UnknownSession:
    return UnknownSession("no session of that id is kept here; GET /sessions lists those that are")


def _described(row: SessionRow) -> dict[str, Any]:
    return {
        "id": row.id,
        "kind": row.kind,
        "name": row.name or None,
        "created_at": _time(row.created_at),
        "used_at": _time(row.used_at),
    }


def _time(at: float) -> str:
    return datetime.datetime.fromtimestamp(at, datetime.UTC).isoformat(timespec="milliseconds")


def _json(content: object) -> web.Response:
    body = msgspec.json.encode(content)
    return web.Response(body=body, content_type="application/json", headers=_NOT_KEPT)
