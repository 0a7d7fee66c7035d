"""The benches run against a real server process with fake models: nothing here says how fast anything is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import run_case
from bench.cases.turn import LEVELS
from bench.cases.turn import run as run_turns
from bench.server import Broken, serving


async def test_typed_turns_give_every_figure_at_every_level() -> None:
    report = await run_turns("fake", 8, 1, ("text",))
    assert [row.sessions for row in report.rows] == list(LEVELS)
    for row in report.rows:
        assert row.turns == 8
        assert not any(row.counts.values())
        for name in ("first token", "last token", "first audio", "audible", "first audio, client's watch"):
            assert row.figures[name].n == 8, name
    assert report.start["process start to ready"] > 0


def test_the_http_routes_are_measured_in_a_process_of_their_own() -> None:
    report = run_case("http", "fake", 3)
    assert report is not None
    assert [row.name for row in report.rows] == ["POST /chat →", "POST /tts →"]
    assert all(figure.n == 3 for row in report.rows for figure in row.figures.values())


async def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="no profile"):
        async with serving("nowhere"):
            pass
