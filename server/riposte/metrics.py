"""What is counted and timed, in the form that Prometheus reads.

One `Metrics` belongs to one server and owns its registry: two servers in a process, as in tests, never
share a figure. Times are seconds, as Prometheus wants them; the edges are where a talk feels different.
docs/metrics.md says of each figure what it means and what to do when it is high.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, Info, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from riposte.errors import error_codes
from riposte.wire.frames import Clock, Done, EndReason

STAGES = (
    "endpoint",
    "asr",
    "llm_first_token",
    "tts_first_audio",
    "first_audio_sent",
    "audible",
    "last_token",
    "done",
)

Draft = Literal["made", "used", "dropped"]
Role = Literal["asr", "llm", "tts"]
Outcome = Literal["whole", "cut", "failed"]

# 200 ms is the human gap; the edges from 15 up to it are what the stages of a turn may spend of it.
# Above 1 s only the size of the trouble matters.
_EDGES_MS = (5, 10, 15, 25, 40, 60, 80, 100, 130, 160, 200, 300, 400, 600, 800, 1000, 2000, 5000, 10_000)
_EDGES_S = tuple(ms / 1000 for ms in _EDGES_MS)
_LATE_EDGES_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_TOKEN_EDGES_S = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.2, 0.5)


class Metrics:
    """The figures of one server. Used on its event loop."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry(auto_describe=True)
        ProcessCollector(registry=registry)
        self._now = _Now()
        registry.register(self._now)

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"riposte_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, edges: tuple[float, ...] = _EDGES_S) -> Histogram:
            return Histogram(f"riposte_{name}", text, labels, buckets=edges, registry=registry)

        self._turns = counter("turns", "Turns ended", "clock", "reason")
        self._errors = counter("errors", "Errors told to clients", "code")
        self._stages = {
            stage: histogram(
                f"turn_{stage}_seconds", f"From a turn's zero to its {stage.replace('_', ' ')}", "clock"
            )
            for stage in STAGES
        }
        self._tokens = counter("tokens", "Tokens by kind", "kind")
        self._audio = counter("audio_seconds", "Sound by direction", "direction")
        self._frames = counter("frames", "Frames by direction", "direction")
        self._drafts = counter("drafts", "Turns prepared in a pause, and what became of them", "outcome")
        self._draft_saved = histogram(
            "draft_saved_seconds", "How long before its turn's end the preparation of a draft began"
        )
        self._refused = counter("turns_refused", "Turns that would have waited too long for others")
        self._starved_s = counter(
            "starved_seconds", "How long clients had nothing to play in the middle of a reply"
        )
        self._starved = counter("starved_replies", "Replies with such a gap")
        self._barge_ins = counter("barge_ins", "Replies that the user's voice interrupted")
        self._streams = counter("model_streams", "Work of the models ended", "role", "outcome")
        self._recognition = histogram(
            "asr_recognition_seconds", "From asking for an utterance's words to having them", "ahead"
        )
        self._first_text = histogram(
            "llm_first_text_seconds", "From asking for a reply to its first text: waiting and prefill"
        )
        self._token_s = histogram(
            "llm_token_seconds", "Mean time between the tokens of a reply", edges=_TOKEN_EDGES_S
        )
        self._first_sound = histogram(
            "tts_first_sound_seconds", "From asking for a clause to its first sound"
        )
        self._lateness = histogram(
            "loop_lateness_seconds", "How late the event loop runs a timer", edges=_LATE_EDGES_S
        )
        self._tool_calls = counter("tool_calls", "Tools asked for, by what came of it", "outcome")
        # Children are looked up once: labels() takes a lock and builds a tuple each time.
        self._frames_in, self._frames_out = self._frames.labels("in"), self._frames.labels("out")
        self._audio_in, self._audio_out = self._audio.labels("in"), self._audio.labels("out")
        # A series that exists at zero makes rate() right from its first event on.
        for clock in get_args(Clock):
            for reason in get_args(EndReason):
                self._turns.labels(clock, reason)
        for code in error_codes():
            self._errors.labels(code)
        for outcome in get_args(Draft):
            self._drafts.labels(outcome)
        for outcome in ("answered", "refused", "unanswered"):
            self._tool_calls.labels(outcome)
        for role in get_args(Role):
            for how in get_args(Outcome):
                self._streams.labels(role, how)
        for ahead in ("false", "true"):
            self._recognition.labels(ahead)
        for kind in ("prompt", "cached", "completion"):
            self._tokens.labels(kind)

    def describe_build(self, **facts: str) -> None:
        """Say what is running: `riposte_build_info`."""
        Info("riposte_build", "What is running", registry=self._registry).info(facts)

    def watch(self, name: str, text: str, read: Callable[[], float]) -> None:
        """Show a figure that is read on the event loop when somebody asks: nothing is counted up and down."""
        self._now.add(name, text, None, lambda: {"": read()})

    def watch_by(self, name: str, text: str, label: str, read: Callable[[], Mapping[str, float]]) -> None:
        """Show such a figure for each value of a label."""
        self._now.add(name, text, label, read)

    def count_error(self, code: str) -> None:
        """Count an error that a client was told."""
        self._errors.labels(code).inc()

    def count_frame_in(self, audio_s: float = 0.0) -> None:
        """Count a frame from a client, and the seconds of sound in it."""
        self._frames_in.inc()
        if audio_s > 0:
            self._audio_in.inc(audio_s)

    def count_frames_out(self, frames: int, audio_s: float = 0.0) -> None:
        """Count frames to a client, and the seconds of sound in them."""
        self._frames_out.inc(frames)
        if audio_s > 0:
            self._audio_out.inc(audio_s)

    def count_tool_calls(self, outcomes: Mapping[str, int]) -> None:
        """Count a turn's tool calls: "answered", "refused" as wrong, or "unanswered"."""
        for outcome, count in outcomes.items():
            self._tool_calls.labels(outcome).inc(count)

    def count_draft(self, outcome: Draft, saved_s: float | None = None) -> None:
        """Count a turn that was prepared in a pause, or what became of it.

        `saved_s`: how long the models had before it was known that the turn was over.
        """
        self._drafts.labels(outcome).inc()
        if saved_s is not None:
            self._draft_saved.observe(saved_s)

    def count_barge_in(self) -> None:
        """Count a reply that the user spoke over."""
        self._barge_ins.inc()

    def count_refused(self) -> None:
        """Count a turn that was not taken because of those in front of it."""
        self._refused.inc()

    def count_starved(self, seconds: float) -> None:
        """Count how long a reply's listener had nothing to play in the middle of it."""
        if seconds > 0:
            self._starved_s.inc(seconds)
            self._starved.inc()

    def count_stream(self, role: Role, outcome: Outcome) -> None:
        """Count a model's work for somebody: done, given up, or failed."""
        self._streams.labels(role, outcome).inc()

    def observe_recognition(self, seconds: float, *, ahead: bool) -> None:
        """Take how long an utterance's words took; `ahead` of its end nobody waited for them."""
        self._recognition.labels("true" if ahead else "false").observe(seconds)

    def observe_first_text(self, seconds: float) -> None:
        """Take how long the language model took to its first text."""
        self._first_text.observe(seconds)

    def observe_token(self, seconds: float) -> None:
        """Take a reply's mean time between tokens."""
        self._token_s.observe(seconds)

    def observe_first_sound(self, seconds: float) -> None:
        """Take how long a clause took to its first sound."""
        self._first_sound.observe(seconds)

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


class _Now(Collector):
    """Figures that are read from what they are about, when somebody asks."""

    def __init__(self) -> None:
        self._gauges: list[tuple[str, str, str | None, Callable[[], Mapping[str, float]]]] = []

    def add(self, name: str, text: str, label: str | None, read: Callable[[], Mapping[str, float]]) -> None:
        self._gauges.append((f"riposte_{name}", text, label, read))

    def describe(self) -> Iterable[Metric]:
        return []  # else the registry would read them all once at the start

    def collect(self) -> Iterable[Metric]:
        for name, text, label, read in self._gauges:
            family = GaugeMetricFamily(name, text, labels=None if label is None else [label])
            for value, figure in read().items():
                family.add_metric([] if label is None else [value], figure)
            yield family
