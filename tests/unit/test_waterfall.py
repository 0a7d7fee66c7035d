"""The picture of a turn's times."""

from __future__ import annotations

from riposte.replay.waterfall import COLUMNS, waterfall, waterfalls
from riposte.wire import frames as wire

LEFT = 33  # columns of names and figures


def turn(*times: float | None, clock: wire.Clock = "speech", heard_ms: int | None = 900) -> wire.Done:
    return wire.Done(3, "stop", heard_ms, wire.Usage(), wire.Timing(clock, *times))


def picture(done: wire.Done) -> list[str]:
    return [line[LEFT:].ljust(COLUMNS + 1) for line in waterfall(done)[2:]]


def test_a_turn_is_drawn_to_scale() -> None:
    assert waterfall(turn(150.0, 90.0, 100.0, 125.0, 152.5, 171.0, 205.0, 2400.0), "lights on") == [
        "turn 3 'lights on': stop, 900 ms of sound heard; ms after the last voiced sample",
        "                                 0          50         100         150        200        250",
        "  end of turn decided     150.0  ==================================#          |",
        "  words final              90.0  ====================#                        |",
        "  first token             100.0                      ==#                      |",
        "  first sound made        125.0                        ======#                |",
        "  first sound sent        152.5                                    #          |",
        "  audible                 171.0                                    ====#      |",
        "  last token              205.0                        =======================+#",
        "  done                   2400.0                                               |==========>",
    ]


def test_what_ran_ahead_of_the_end_stands_left_of_the_zero() -> None:
    ahead, *_ = picture(turn(150.0, -40.0, -30.0))[1:]
    ruler = waterfall(turn(150.0, -40.0, -30.0))[1][LEFT:]
    assert 0 <= ahead.index("#") < ruler.index(" 0 ") + 1


def test_every_line_crosses_or_shows_the_target() -> None:
    lines = picture(turn(150.0, 90.0, 100.0, 125.0, 152.0, 171.0, 305.0, 2400.0))
    (column,) = {line.index("|") for line in lines if "|" in line}
    assert {line[column] for line in lines} <= {"|", "+"}


def test_stages_that_did_not_run_have_no_line() -> None:
    assert len(picture(turn(1.0, None, 5.0, clock="text", heard_ms=None))) == 2
    assert waterfall(turn(clock="text", heard_ms=None)) == ["turn 3: stop"]


def test_a_stage_far_away_is_an_arrow() -> None:
    lines = picture(turn(0.1, 20.0, 30_000.0, 30_020.0, 30_021.0, 30_040.0, 31_000.0, 32_000.0, clock="end"))
    assert all(len(line.rstrip()) <= COLUMNS + 1 for line in lines)
    assert lines[-1].rstrip().endswith(">")


def test_turns_come_in_order_with_their_words() -> None:
    frames: list[wire.ServerFrame] = [
        wire.Transcript(1, "hel", 0, False),
        wire.Transcript(1, "hello", 5, True),
        wire.Done(1, "stop", 1, wire.Usage(), wire.Timing("speech", 1.0)),
        wire.Done(2, "cancelled", 1, wire.Usage(), wire.Timing("text", 1.0)),
    ]
    titles = [line for line in waterfalls(frames) if line.startswith("turn")]
    assert titles[0].startswith("turn 1 'hello': stop")
    assert titles[1].startswith("turn 2: cancelled")
