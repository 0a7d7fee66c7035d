"""What is going on now, read from the sessions and models themselves whenever /metrics is asked."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from riposte import __version__
from riposte.endpoints import sockets
from riposte.endpoints.keys import METRICS, SESSIONS, STATE

_ROLES = ("asr", "llm", "tts", "vad")


def add_gauges(app: web.Application) -> None:
    """Let the figures of this server show what is open, in progress, and held."""
    metrics, sessions = app[METRICS], app[SESSIONS]
    metrics.describe_build(version=__version__, profile=app[STATE].profile)
    metrics.watch("sockets_open", "WebSockets that are open", lambda: sockets.open_sockets(app))
    metrics.watch("sessions_connected", "Sessions with a client", lambda: sessions.connected)
    metrics.watch("sessions_kept", "Sessions in memory, with a client or not", lambda: len(list(sessions)))
    metrics.watch(
        "turns_in_progress",
        "Turns begun and not ended",
        lambda: sum(session.in_turn for session in sessions),
    )
    admission = sessions.admission
    metrics.watch("turns_waiting", "Turns begun that have no first clause yet", lambda: admission.waiting)
    metrics.watch(
        "first_clause_wait_seconds", "What a turn would wait now for those in front", lambda: admission.wait_s
    )
    metrics.watch(
        "outbox_bytes",
        "What waits to be sent to clients",
        lambda: sum(session.outbox_bytes for session in sessions),
    )
    metrics.watch(
        "held_audio_seconds",
        "Microphone audio of utterances in progress and of turns",
        lambda: sessions.held_audio.seconds,
    )

    def streams() -> Mapping[str, float]:
        models = sessions.models
        return {role: 0 if models is None else getattr(models, role).active for role in _ROLES}

    metrics.watch_by("model_streams_open", "Streams of each model that are open", "role", streams)
