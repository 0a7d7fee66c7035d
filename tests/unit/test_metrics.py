"""What a turn's end leaves in the figures."""

from __future__ import annotations

import asyncio
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from riposte import errors
from riposte.metrics import STAGES, Metrics
from riposte.wire.frames import Done, Timing, Usage


def figures(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, _ = metrics.exposition()
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return figures(metrics).get((name, tuple(sorted(labels.items()))))


def done(clock: str = "speech", reason: str = "stop", **timing: float) -> Done:
    return Done(1, reason, None, Usage(10, 4, 6, 900), Timing(clock, **timing))


def test_a_turn_is_counted_by_clock_and_reason() -> None:
    metrics = Metrics()
    metrics.observe_done(done())
    metrics.observe_done(done(reason="interrupted"))
    metrics.observe_done(done(clock="text"))
    assert value(metrics, "riposte_turns_total", clock="speech", reason="stop") == 1
    assert value(metrics, "riposte_turns_total", clock="speech", reason="interrupted") == 1
    assert value(metrics, "riposte_turns_total", clock="text", reason="stop") == 1
    assert value(metrics, "riposte_turns_total", clock="end", reason="error") == 0


def test_tokens_are_counted_by_kind() -> None:
    metrics = Metrics()
    metrics.observe_done(done())
    metrics.observe_done(done())
    counted = [
        value(metrics, "riposte_tokens_total", kind=kind) for kind in ("prompt", "cached", "completion")
    ]
    assert counted == [20, 8, 12]


def test_a_stage_is_timed_in_seconds_where_it_ran() -> None:
    metrics = Metrics()
    metrics.observe_done(done(asr=150.0, audible=190.0))
    name = "riposte_turn_audible_seconds"
    assert value(metrics, f"{name}_sum", clock="speech") == pytest.approx(0.19)
    assert value(metrics, f"{name}_bucket", clock="speech", le="0.16") == 0
    assert value(metrics, f"{name}_bucket", clock="speech", le="0.2") == 1
    assert value(metrics, "riposte_turn_llm_first_token_seconds_count", clock="speech") is None


def test_work_ahead_of_the_zero_is_no_wait() -> None:
    metrics = Metrics()
    metrics.observe_done(done(asr=-20.0))
    assert value(metrics, "riposte_turn_asr_seconds_sum", clock="speech") == 0
    assert value(metrics, "riposte_turn_asr_seconds_count", clock="speech") == 1


def test_every_stage_has_the_edges_that_are_budgets() -> None:
    metrics = Metrics()
    metrics.observe_done(done(**dict.fromkeys(STAGES, 1.0)))
    known = figures(metrics)
    for stage in STAGES:
        for edge in ("0.015", "0.04", "0.06", "0.1", "0.13", "0.16", "0.2", "1.0"):
            assert (f"riposte_turn_{stage}_seconds_bucket", (("clock", "speech"), ("le", edge))) in known


def test_frames_sound_and_errors() -> None:
    metrics = Metrics()
    metrics.count_frame_in(0.02)
    metrics.count_frame_in()
    metrics.count_frames_out(1, 0.1)
    metrics.count_error("busy")
    assert value(metrics, "riposte_frames_total", direction="in") == 2
    assert value(metrics, "riposte_frames_total", direction="out") == 1
    assert value(metrics, "riposte_audio_seconds_total", direction="in") == pytest.approx(0.02)
    assert value(metrics, "riposte_audio_seconds_total", direction="out") == pytest.approx(0.1)
    assert value(metrics, "riposte_errors_total", code="busy") == 1


def test_gaps_in_replies_are_counted_where_there_are_any() -> None:
    metrics = Metrics()
    for seconds in (0.0, 0.2, 0.1):
        metrics.count_starved(seconds)
    assert value(metrics, "riposte_starved_seconds_total") == pytest.approx(0.3)
    assert value(metrics, "riposte_starved_replies_total") == 2


def test_two_servers_share_no_figure() -> None:
    one, other = Metrics(), Metrics()
    one.count_barge_in()
    assert value(one, "riposte_barge_ins_total") == 1
    assert value(other, "riposte_barge_ins_total") == 0


def test_what_is_watched_is_read_when_somebody_asks() -> None:
    metrics, held = Metrics(), [1.0, 2.0]
    metrics.watch("held", "What is held", lambda: len(held))
    metrics.watch_by("held_by", "The same", "who", lambda: dict(zip("ab", held, strict=False)))
    assert value(metrics, "riposte_held") == 2
    held.pop()
    assert value(metrics, "riposte_held") == 1
    assert value(metrics, "riposte_held_by", who="a") == 1
    assert value(metrics, "riposte_held_by", who="b") is None


def test_every_error_has_a_series_from_the_start() -> None:
    metrics = Metrics()
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and hasattr(kind, "code")}
    assert len(codes) >= 15
    for code in (*codes, "unauthorized", "forbidden"):
        assert value(metrics, "riposte_errors_total", code=code) == 0


def test_names_follow_prometheus_rules() -> None:
    text, _ = Metrics().exposition()
    for line in text.decode().splitlines():
        if not line.startswith("# TYPE ") or line.split()[2].endswith("_created"):
            continue
        name, kind = line.split()[2:]
        assert re.fullmatch(r"(riposte|process)_[a-z_]+", name)
        assert name.endswith("_total") == (kind == "counter")
        assert kind != "histogram" or name.endswith("_seconds")
        assert not re.search(r"_(ms|millis|minutes|kb|mb)\b", name)


async def test_the_loops_lateness_is_watched() -> None:
    metrics = Metrics()
    watch = asyncio.create_task(metrics.watch_loop(every_s=0.0))
    while not value(metrics, "riposte_loop_lateness_seconds_count"):  # noqa: ASYNC110  a counter has no event
        await asyncio.sleep(0)
    watch.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watch


def test_tool_calls_are_counted_by_what_came_of_them() -> None:
    metrics = Metrics()
    for _ in range(2):
        metrics.count_tool_calls({"answered": 2, "refused": 0, "unanswered": 1})
    assert value(metrics, "riposte_tool_calls_total", outcome="answered") == 4
    assert value(metrics, "riposte_tool_calls_total", outcome="refused") == 0
