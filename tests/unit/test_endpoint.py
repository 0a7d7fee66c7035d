"""Scores in, started and stopped out, in samples."""

import pytest

from riposte.turn.endpoint import Endpoint, Started, Stopped

WINDOW, RATE_HZ = 512, 16_000


def run(scores: list[float], **rule: int) -> list[Started | Stopped]:
    given = {"min_speech_ms": 96, "silence_ms": 400} | rule
    endpoint = Endpoint(window=WINDOW, rate_hz=RATE_HZ, **given)
    return [event for score in scores if (event := endpoint.push(score)) is not None]


QUIET = [0.0] * 20


@pytest.mark.parametrize(
    ("scores", "events"),
    [
        (QUIET, []),
        ([0.0, *[0.9] * 2, *QUIET], []),  # 64 ms are no speech
        ([0.0, *[0.9] * 3, *QUIET], [Started(512), Stopped(4 * 512)]),
        ([*[0.9] * 5, *[0.1] * 12, *[0.9] * 5, *QUIET], [Started(0), Stopped(22 * 512)]),  # 384 ms pause
        (
            [*[0.9] * 5, *[0.1] * 13, *[0.9] * 5, *QUIET],
            [Started(0), Stopped(5 * 512), Started(18 * 512), Stopped(23 * 512)],
        ),
        ([0.9, 0.4, 0.4, 0.4, *QUIET], [Started(0), Stopped(4 * 512)]),  # between the thresholds: as before
        ([0.4] * 10, []),
        ([0.9, 0.1, 0.9, 0.1, 0.9, 0.1], []),  # clicks do not add up
    ],
)
def test_events(scores, events):
    assert run(scores) == events


def test_stop_ends_an_open_utterance_and_nothing_else():
    endpoint = Endpoint(window=WINDOW, rate_hz=RATE_HZ, min_speech_ms=96, silence_ms=400)
    assert endpoint.stop() is None
    for _ in range(4):
        endpoint.push(0.9)
    assert endpoint.speaking
    assert endpoint.stop() == Stopped(4 * 512)
    assert not endpoint.speaking


def test_time_may_begin_anywhere():
    endpoint = Endpoint(window=WINDOW, rate_hz=RATE_HZ, min_speech_ms=32, silence_ms=400, at=1_000)
    assert endpoint.push(0.9) == Started(1_000)
