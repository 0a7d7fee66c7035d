"""Lines of the log: as text, as JSON, and what a turn leaves in them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest

from riposte import log
from riposte.wire.frames import Done, Timing, Usage

DONE = Done(
    7,
    "stop",
    900,
    Usage(50, 40, 21, 1200),
    Timing("text", endpoint=0.1, llm_first_token=10.0, last_token=210.0, done=1500.0),
)


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield io.StringIO()
    root.handlers[:] = before
    root.setLevel(level)


def test_a_turn_is_one_line_of_words(stream: io.StringIO) -> None:
    log.set_up("info", stream=stream)
    log.log_turn("a-long-id-abc123", DONE, user="open the door", reply="no")
    (line,) = stream.getvalue().splitlines()
    assert line.split(": ", 1)[1] == (
        "turn ended session=abc123 turn=7 clock=text reason=stop heard_ms=900 endpoint_ms=0.1 "
        "llm_first_token_ms=10.0 last_token_ms=210.0 done_ms=1500.0 prompt_tokens=50 cached_tokens=40 "
        "completion_tokens=21 audio_ms=1200 tokens_per_s=100.0"
    )


def test_a_turn_is_one_json_object_with_numbers(stream: io.StringIO) -> None:
    log.set_up("info", json=True, stream=stream)
    log.log_turn("a-long-id-abc123", DONE, user="open the door", reply="no")
    line = json.loads(stream.getvalue())
    assert (line["message"], line["logger"], line["level"]) == ("turn ended", "riposte.turns", "info")
    assert (line["session"], line["turn"], line["done_ms"], line["tokens_per_s"]) == (
        "abc123",
        7,
        1500.0,
        100.0,
    )
    assert "asr_ms" not in line  # it did not run


@pytest.mark.parametrize("json_lines", [True, False])
def test_what_was_said_is_there_at_debug_only(stream: io.StringIO, json_lines: bool) -> None:
    said = {"user": 'open\nthe "door" \ud800', "reply": "no", "heard": ""}
    log.set_up("debug", json=json_lines, stream=stream)
    log.log_turn("id", DONE, **said)
    ended, told = stream.getvalue().splitlines()
    assert "door" not in ended
    if json_lines:
        line = json.loads(told)
        assert (line["level"], line["user"], line["heard"]) == ("debug", 'open\nthe "door" ?', "")
    else:
        assert r'user="open\nthe \"door\" \ud800" reply=no heard=""' in told


def test_a_field_never_stands_in_for_the_lines_own_words(stream: io.StringIO) -> None:
    log.set_up("info", json=True, stream=stream)
    logging.getLogger("x").info("hello", extra={"fields": {"level": "critical", "more": 1}})
    line = json.loads(stream.getvalue())
    assert (line["level"], line["more"]) == ("info", 1)


@pytest.mark.parametrize(
    ("tokens", "first", "last"), [(7, 10.0, 20.0), (20, 10.0, 10.0), (20, None, None), (0, 10.0, 20.0)]
)
def test_without_a_stretch_of_tokens_there_is_no_pace(
    stream: io.StringIO, tokens: int, first: float | None, last: float | None
) -> None:
    log.set_up("info", stream=stream)
    timing = Timing("text", llm_first_token=first, last_token=last)
    log.log_turn("id", Done(1, "stop", None, Usage(completion_tokens=tokens), timing))
    assert "tokens_per_s" not in stream.getvalue()
