"""Which frames answer a turn, whatever is left of those before it."""

from __future__ import annotations

import pytest

from riposte.client.turns import Answer
from riposte.errors import Busy
from riposte.wire.frames import Done, Error, Mark, ServerFrame, Speech, Timing, Token, Usage

FENCE = Mark(-1)


def done(turn: int) -> Done:
    return Done(turn, "cancelled", None, Usage(), Timing("text"))


@pytest.mark.parametrize(
    ("answer", "frames", "taken"),
    [
        pytest.param(Answer(0), [Token(1, "a"), done(1)], [0, 1], id="the first turn"),
        pytest.param(Answer(4), [Token(4, "a"), done(4), Token(5, "b"), done(5)], [2, 3], id="leftovers"),
        pytest.param(Answer(0), [Speech("started", 1), Mark(3), Token(1, "a"), done(1)], [2, 3], id="others"),
        pytest.param(Answer(0), [Token(1, "a"), Error("idle", "soon"), done(1)], [0, 1, 2], id="news"),
        pytest.param(Answer(0), [Error("engine", "broke", 1), done(1)], [0, 1], id="a turn that fails"),
        pytest.param(Answer(0), [done(1)], [0], id="a turn that ends at once"),
        pytest.param(
            Answer(0, 1, FENCE), [Token(1, "a"), done(1), FENCE, done(2)], [3], id="one left, over in time"
        ),
        pytest.param(
            Answer(0, 1, FENCE),
            [Token(1, "a"), FENCE, done(1), Token(2, "b"), done(2)],
            [3, 4],
            id="over late",
        ),
        pytest.param(
            Answer(0, 1, FENCE), [Error("busy", "later"), FENCE, done(1)], [2], id="one left, refused"
        ),
        pytest.param(
            Answer(0, 3, FENCE),
            [done(1), FENCE, done(2), done(3), Token(4, "b"), done(4)],
            [4, 5],
            id="three left",
        ),
        pytest.param(Answer(0, 2, FENCE), [FENCE, Token(1, "b"), done(1)], [1, 2], id="left without a trace"),
    ],
)
def test_frames_are_told_apart(answer: Answer, frames: list[ServerFrame], taken: list[int]) -> None:
    assert [index for index, frame in enumerate(frames) if answer.take(frame)] == taken
    assert answer.over


def test_a_refusal_before_the_first_frame_is_raised() -> None:
    answer = Answer(0)
    with pytest.raises(Busy, match="later"):
        answer.take(Error("busy", "later"))
    assert answer.over
