"""What is counted and timed, in the form that Prometheus reads.

One `Metrics` belongs to one server and owns its registry: two servers in a process, as in tests, never
share a figure. Times are seconds, as Prometheus wants them; the edges are where a talk feels different.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from riposte.wire.frames import Clock, Done, EndReason

STAGES = ("endpoint", "asr", "llm_first_token", "tts_first_audio", "first_audio_sent", "audible", "done")

# 200 ms is the human gap; the edges from 15 up to it are what the stages of a turn may spend of it.
# Above 1 s only the size of the trouble matters.
_EDGES_MS = (5, 10, 15, 25, 40, 60, 80, 100, 130, 160, 200, 300, 400, 600, 800, 1000, 2000, 5000, 10_000)
_EDGES_S = tuple(ms / 1000 for ms in _EDGES_MS)
_LATE_EDGES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


class Metrics:
    """The figures of one server. Used on its event loop."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        self._sessions = Gauge("riposte_sessions", "Sessions open now", registry=registry)
        self._turns = Counter("riposte_turns", "Turns ended", ["clock", "reason"], registry=registry)
        self._errors = Counter("riposte_errors", "Errors told to clients", ["code"], registry=registry)
        self._stages = {
            stage: Histogram(
                f"riposte_turn_{stage}_seconds",
                f"From a turn's zero to its {stage.replace('_', ' ')}",
                ["clock"],
                buckets=_EDGES_S,
                registry=registry,
            )
            for stage in STAGES
        }
        self._tokens = Counter("riposte_tokens", "Tokens by kind", ["kind"], registry=registry)
        self._audio = Counter("riposte_audio_seconds", "Sound by direction", ["direction"], registry=registry)
        self._frames = Counter("riposte_frames", "Frames by direction", ["direction"], registry=registry)
        self._lateness = Histogram(
            "riposte_loop_lateness_seconds",
            "How late the event loop runs a timer",
            buckets=_LATE_EDGES_S,
            registry=registry,
        )
        self._tool_calls = Counter(
            "riposte_tool_calls", "Tools asked for, by what came of it", ["outcome"], registry=registry
        )
        # Children are looked up once: labels() takes a lock and builds a tuple each time.
        self._frames_in, self._frames_out = self._frames.labels("in"), self._frames.labels("out")
        self._audio_in, self._audio_out = self._audio.labels("in"), self._audio.labels("out")
        # A series that exists at zero makes rate() right from its first event on.
        for clock in get_args(Clock):
            for reason in get_args(EndReason):
                self._turns.labels(clock, reason)

    def set_sessions(self, count: int) -> None:
        """Say how many sessions are open now."""
        self._sessions.set(count)

    def count_error(self, code: str) -> None:
        """Count an error that a client was told."""
        self._errors.labels(code).inc()

    def count_frame_in(self, audio_s: float = 0.0) -> None:
        """Count a frame from a client, and the seconds of sound in it."""
        self._frames_in.inc()
        if audio_s > 0:
            self._audio_in.inc(audio_s)

    def count_frame_out(self, audio_s: float = 0.0) -> None:
        """Count a frame to a client, and the seconds of sound in it."""
        self._frames_out.inc()
        if audio_s > 0:
            self._audio_out.inc(audio_s)

    def count_tool_calls(self, outcomes: Mapping[str, int]) -> None:
        """Count a turn's tool calls: "answered", "refused" as wrong, or "unanswered"."""
        for outcome, count in outcomes.items():
            self._tool_calls.labels(outcome).inc(count)

    def observe_done(self, done: Done) -> None:
        """Take a turn's end: its reason, its tokens, and the time of each stage that ran."""
        timing, usage = done.timing, done.usage
        self._turns.labels(timing.clock, done.reason).inc()
        for kind in ("prompt", "cached", "completion"):
            self._tokens.labels(kind).inc(getattr(usage, f"{kind}_tokens"))
        for stage, histogram in self._stages.items():
            ms: float | None = getattr(timing, stage)
            if ms is not None:
                # Work that ran ahead of the turn's zero counts as no wait at all.
                histogram.labels(timing.clock).observe(max(ms, 0.0) / 1000)

    async def watch_loop(self, every_s: float = 0.25) -> None:
        """Measure the event loop's lateness until cancelled."""
        while True:
            # Not loop.time(): uvloop's counts whole milliseconds.
            due = time.monotonic() + every_s
            await asyncio.sleep(every_s)
            self._lateness.observe(max(0.0, time.monotonic() - due))

    def exposition(self) -> tuple[bytes, str]:
        """Return everything as Prometheus text, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST
