"""The benches run against a real server process with fake models: nothing here says how fast anything is."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.__main__ import run_case
from bench.cases.asr import AT_THE_END
from bench.cases.asr import run as run_asr
from bench.cases.barge_in import ITSELF, STOP
from bench.cases.barge_in import run as run_barge_in
from bench.cases.llm import PREFILL, PROMPTS, TOKEN
from bench.cases.llm import run as run_llm
from bench.cases.load import run as run_load
from bench.cases.pauses import TAKEN
from bench.cases.pauses import run as run_pauses
from bench.cases.turn import LEVELS
from bench.cases.turn import run as run_turns
from bench.cases.voice import DIFFERENT
from bench.cases.voice import run as run_voice
from bench.cases.wire import SHAPES
from bench.cases.wire import run as run_wire
from bench.exchange import STAGES, WATCH
from bench.report import Share
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


async def test_the_wire_is_measured_beside_whatever_is_installed() -> None:
    report = await run_wire(rounds=2, turns=2)
    rows = {(row.name, row.unit): row for row in report.rows}
    for name in {"riposte", "aiohttp", "fastapi", "picows"} - set(report.missing):
        assert set(rows[f"{name} →", "µs"].figures) == {f"CPU a frame, {shape}" for shape in SHAPES}
        # 75 frames of 1,920 bytes and their headers at the least
        assert rows[f"{name} →", "bytes"].figures["a turn"].p50 > 75 * 1_924
    ratio = rows["riposte ÷ aiohttp,", "×"]
    assert [target.at_most for target in ratio.targets] == [1.25]
    assert all(figure.n == 2 for figure in ratio.figures.values())


async def test_load_goes_from_level_to_level_and_says_how_many_it_bears() -> None:
    report = await run_load("pico", 2, 3, levels=(1,), think_s=(0.0, 0.1))
    assert [(row.name, row.sessions, row.turns) for row in report.rows] == [("text →", 1, 1), ("end →", 1, 1)]
    assert report.rows[0].figures["first audio"].n == 1
    assert "for up to 1 sessions" in report.notes[0]


async def test_the_language_model_is_measured_with_or_without_others_beside_it() -> None:
    report = await run_llm("pico", 1, 4, threads=(1,))
    ours = report.rows[0]
    assert ours.name == "riposte, 1 thread →"
    assert {TOKEN, *(PREFILL.format(size) for size in PROMPTS)} < set(ours.figures)
    assert "make bench-compare" in " ".join(report.missing.values()) or len(report.rows) > 1


async def test_hearing_is_measured_with_or_without_others_beside_it() -> None:
    report = await run_asr("pico", 2, 5, threads=(1,))
    assert report.rows[0].name == "riposte, 1 thread →"
    assert report.rows[0].figures["a second of speech"].n == 2
    assert any(note.startswith("riposte: ") and "words wrong" in note for note in report.notes)
    assert any(note.startswith(AT_THE_END) and "2 of 2 utterances" in note for note in report.notes)


async def test_a_voice_is_answered_and_timed_by_both_clocks() -> None:
    report = await run_voice("pico", 1, 1, levels=(1,), compare=False)
    (row,) = report.rows
    assert row.turns == 1
    assert {*STAGES, WATCH} == set(row.figures)
    # The server's clock begins and ends within the client's.
    assert row.figures[WATCH].p50 > row.figures["audible"].p50 > 0
    assert row.shares["without a reply"] == Share(0, 1)


@pytest.mark.long
async def test_speculation_is_compared_with_none() -> None:
    report = await run_voice("pico", 4, 1, levels=())
    assert report.rows[-1].shares == {DIFFERENT: Share(0, 2)}


@pytest.mark.long
async def test_pauses_are_judged_at_a_patience() -> None:
    report = await run_pauses("pico", 3, 1, (0.0, 1.0), least=2)
    rows = {row.name: row for row in report.rows}
    assert {"unpaused, patience 0 →", "unpaused, patience 1 →"} < set(rows)
    for patience in ("0", "1"):
        assert rows[f"unfinished, patience {patience}:"].shares[TAKEN].n == 1
        assert rows[f"finished, patience {patience}:"].shares[TAKEN].n == 1


@pytest.mark.long
async def test_a_reply_is_spoken_over_in_every_way() -> None:
    report = await run_barge_in("pico", 4, 1)
    names = [row.name for row in report.rows]
    assert names[0] == "barge-in →"
    assert names[2] == "begins like a backchannel →"
    assert names[3:] == ["a backchannel over a reply:", "a noise over a reply:", "echo:"]
    # A busy machine may be late with a word or two: those are left out, and counted.
    assert 1 <= report.rows[0].figures[STOP].n <= 4
    assert report.rows[-1].shares[ITSELF].n == 2


async def test_a_server_that_does_not_start_is_quoted(tmp_path: Path) -> None:
    with pytest.raises(Broken, match="no profile"):
        async with serving("nowhere"):
            pass
