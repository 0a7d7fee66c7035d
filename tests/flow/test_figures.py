"""What a server tells of itself: /metrics, its page in the docs, the board, and the log."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
from conftest import Served, fakes, serving
from prometheus_client.parser import text_string_to_metric_families
from talking import heard_nothing_more, pcm, speak, until
from test_http import chat, http

from riposte import __version__, log
from riposte.client.client import connect
from riposte.wire import frames as wire

__all__ = ["http"]  # a fixture

DOCS = Path(__file__).parents[2] / "docs"
BOARD = DOCS / "grafana" / "riposte.json"

Figures = dict[tuple[str, frozenset[tuple[str, str]]], float]


async def figures(http: aiohttp.ClientSession, served: Served) -> Figures:
    async with http.get(f"{served.url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    return {(s.name, frozenset(s.labels.items())): s.value for f in families for s in f.samples}


def of(known: Figures, name: str, **labels: str) -> float | None:
    return known.get((f"riposte_{name}", frozenset(labels.items())))


@pytest.fixture
async def talked() -> AsyncIterator[Served]:
    """A server that has answered a turn of each clock."""
    async with serving(fakes(tts={"char_ms": 5}), server__drain_s=0.0) as served:
        async with connect(served.ws_url) as client:
            assert [frame async for frame in client.turn("hello")]
            await speak(client, pcm("good morning", lead_s=0.3, tail_s=0.6))
            await until(client, wire.Done)
            await client.send(wire.Hello(turn_detection="none"))
            await speak(client, pcm("and good night"))
            await client.send(wire.End())
            await until(client, wire.Done)
        yield served


async def test_gauges_say_what_is_there_now(http: aiohttp.ClientSession) -> None:
    async with serving(fakes(llm={"token_s": 0.01}), server__drain_s=0.0) as served:
        before = await figures(http, served)
        async with connect(served.ws_url, modalities=["text"], turn_detection="none") as client:
            await client.send(wire.AudioIn(bytes(16_000)))
            await client.send(wire.Text("count to 500"))
            await until(client, wire.Token)
            during = await figures(http, served)
            await client.send(wire.Cancel())
            await client.send(wire.Clear())
            await until(client, wire.Done)
            await heard_nothing_more(client)
            after = await figures(http, served)
    names = ("sessions_connected", "sessions_kept", "turns_in_progress", "held_audio_seconds", "outbox_bytes")
    assert [of(before, name) for name in names] == [0, 0, 0, 0, 0]
    assert [of(during, name) for name in names[:3]] == [1, 1, 1]
    assert of(during, "held_audio_seconds") == pytest.approx(0.5, abs=0.01)
    assert [of(after, name) for name in names[2:]] == [0, 0, 0]
    open_streams = [
        [of(known, "model_streams_open", role=role) for role in ("asr", "llm", "tts", "vad")]
        for known in (before, during, after)
    ]
    assert open_streams == [[0, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert of(after, "model_streams_total", role="llm", outcome="cut") == 1
    assert of(after, "turns_total", clock="text", reason="cancelled") == 1
    assert of(after, "build_info", version=__version__, profile="fake") == 1


async def test_barge_ins_and_drafts_are_counted(http: aiohttp.ClientSession) -> None:
    profile = fakes(llm={"token_s": 0.01}, asr={"window_s": 0.5})
    async with (
        serving(profile, server__drain_s=0.0) as served,
        connect(served.ws_url, modalities=["text"]) as client,
    ):
        await client.send(wire.Text("count to 500"))
        await until(client, wire.Token)
        await speak(client, pcm("a long sentence that is shown before it has ended", lead_s=0.3, tail_s=0.6))
        await until(client, wire.Done, 2)
        used = await figures(http, served)
        unheard = pcm("another long sentence that nobody will ever hear the end of", lead_s=1.3, tail_s=0.096)
        await speak(client, unheard)
        await until(client, wire.Transcript, 3)
        await heard_nothing_more(client)
        await client.send(wire.Clear())
        await until(client, wire.Done, 3)
        dropped = await figures(http, served)
    assert of(used, "barge_ins_total") == 1
    assert of(used, "turns_total", clock="text", reason="interrupted") == 1
    outcomes = ("made", "used", "dropped")
    assert [of(used, "drafts_total", outcome=name) for name in outcomes] == [1, 1, 0]
    assert of(used, "draft_saved_seconds_count") == 1
    assert [of(dropped, "drafts_total", outcome=name) for name in outcomes] == [2, 1, 1]


async def test_refusals_over_http_are_counted(http: aiohttp.ClientSession) -> None:
    async with serving(server__fake=True) as served:
        async with http.get(f"{served.url}/voices", headers={"Origin": "https://x.example"}):
            pass
        async with http.get(f"{served.url}/nothing"):
            pass
        known = await figures(http, served)
    assert [of(known, "errors_total", code=code) for code in ("forbidden", "not_found")] == [1, 1]


async def test_labels_do_not_grow_with_what_clients_send(http: aiohttp.ClientSession, talked: Served) -> None:
    before = await figures(http, talked)
    for index in range(5):
        async with http.post(f"{talked.url}/chat", json=chat("hello", f"name {index}")):
            pass
        async with http.get(f"{talked.url}/path-{index}"):
            pass
    assert set(await figures(http, talked)) == set(before)


async def test_the_page_has_every_figure_and_no_other(http: aiohttp.ClientSession, talked: Served) -> None:
    async with http.get(f"{talked.url}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    told = {}
    labels: dict[str, set[str]] = {}
    for line in lines:
        if line.startswith("# TYPE ") and not line.endswith("_created gauge"):
            name, kind = line.split()[2:]
            told[name], labels[name] = kind, set()
    for (name, series), _ in (await figures(http, talked)).items():
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        family = name if name in labels else base
        if family in labels:
            labels[family] |= {label for label, _ in series} - {"le"}
    page = (DOCS / "metrics.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \|([^|]*)\| (\w+)", page, re.MULTILINE)
    assert {name for name, _, _ in rows} == set(told)
    for name, given, kind in rows:
        assert set(filter(None, re.split(r",\s*", given.strip()))) == labels[name], name
        assert kind in (told[name], "always"), name


async def test_the_boards_queries_ask_for_what_is_there(http: aiohttp.ClientSession, talked: Served) -> None:
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    values: dict[str, dict[str, set[str]]] = {}
    for name, series in await figures(http, talked):
        for label, text in series:
            values.setdefault(name, {}).setdefault(label, set()).add(text)
        values.setdefault(name, {})
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    assert len(queries) > 30
    used = set()
    for query in queries:
        selectors = re.findall(r"\b((?:riposte|process)_\w+)\{([^}]*)\}", query)
        assert len(selectors) == len(re.findall(r"\b(?:riposte|process)_\w+", query)), query
        for name, matchers in selectors:
            assert name in values, f"{name} in {query}"
            used.add(re.sub(r"_(bucket|sum|count)$", "", name))
            for label, _, wanted in re.findall(r'(\w+)(=~|=)"([^"]*)"', matchers):
                if label == "instance":  # Prometheus' own
                    continue
                there = values[name][label]
                assert wanted == "$clock" or set(wanted.split("|")) <= there, f"{wanted} in {query}"
        for by in re.findall(r"by \(([^)]*)\)", query):
            for label in re.split(r",\s*", by):
                assert all(label in values[name] for name, _ in selectors), f"{label} in {query}"
    for name in (
        "riposte_turn_audible_seconds",
        "riposte_held_audio_seconds",
        "riposte_loop_lateness_seconds",
    ):
        assert name in used


def test_the_board_can_be_imported_anywhere() -> None:
    board = json.loads(BOARD.read_text(encoding="utf-8"))
    variables = {variable["name"]: variable for variable in board["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert set(variables["clock"]["query"].split(",")) == {"speech", "end", "text"}
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        if panel["type"] != "row":
            assert panel["datasource"]["uid"] == "${datasource}"
    assert "id" not in board  # of another Grafana's making


@pytest.mark.parametrize("json_lines", [True, False])
async def test_the_log_holds_a_line_a_turn_and_nothing_that_was_said(
    json_lines: bool, http: aiohttp.ClientSession
) -> None:
    secret, spoken = "xylophone kangaroo", "zeppelin marmalade"
    root = logging.getLogger()
    before, level, stream = list(root.handlers), root.level, io.StringIO()
    try:
        log.set_up("info", json=json_lines, stream=stream)
        async with serving(fakes(tts={"char_ms": 5}), server__drain_s=0.0) as served:
            async with connect(served.ws_url) as client:
                assert [frame async for frame in client.turn(secret)]
                await client.send(wire.Say(secret))
                await until(client, wire.Done)
                await client.send(wire.Hello(turn_detection="none"))
                await speak(client, pcm(spoken))
                await client.send(wire.End())
                assert spoken in [
                    f.text for f in await until(client, wire.Done) if isinstance(f, wire.Transcript)
                ]
            async with http.post(f"{served.url}/chat", json=chat(secret, secret)) as answer:
                assert secret in await answer.text()
            async with http.post(
                f"{served.url}/chat", data=secret, headers={"Content-Type": "application/json"}
            ):
                pass
            turns = [line for line in stream.getvalue().splitlines() if "turn ended" in line]
            assert len(turns) == 4
            lines = len(stream.getvalue().splitlines())
            async with connect(served.ws_url, turn_detection="none") as client:
                for _ in range(200):
                    await client.send(wire.AudioIn(bytes(320)))
                await client.send(wire.Clear())
                assert not await heard_nothing_more(client)
            assert len(stream.getvalue().splitlines()) == lines  # 200 frames, no line
        log.set_up("debug", json=json_lines, stream=(debug := io.StringIO()))
        async with (
            serving(server__fake=True) as served,
            connect(served.ws_url, modalities=["text"]) as client,
        ):
            assert [frame async for frame in client.turn(secret)]
        assert secret in debug.getvalue()
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    for word in (*secret.split(), *spoken.split()):
        assert word not in stream.getvalue()
    if json_lines:
        turn = json.loads(turns[2])
        assert (turn["clock"], turn["reason"], turn["turn"]) == ("end", "stop", 3)
        assert turn["asr_ms"] >= 0
    else:
        assert re.search(r"turn ended session=\S{6} turn=3 clock=end reason=stop heard_ms=\d+ ", turns[2])
