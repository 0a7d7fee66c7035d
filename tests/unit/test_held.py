"""Audio that is held, over all sessions."""

from __future__ import annotations

import gc

import pytest

from riposte.errors import TooLarge
from riposte.turn.held import HeldAudio


class Speech:
    """What an utterance is to the sum."""

    def __init__(self, audio: HeldAudio) -> None:
        self.held = 0
        self._audio = audio
        audio.add(self)

    def push(self, samples: int) -> None:
        self._audio.admit(samples)
        self.held += samples
        self._audio.grew(samples)


def test_there_is_room_up_to_the_limit_and_no_further() -> None:
    audio = HeldAudio(2.0)
    one, other = Speech(audio), Speech(audio)
    one.push(16_000)
    other.push(16_000)
    with pytest.raises(TooLarge, match="the server holds 2 s of its clients' audio"):
        one.push(1)
    one.push(0)
    assert audio.seconds == 2.0


def test_what_is_closed_makes_room() -> None:
    audio = HeldAudio(1.0)
    one, other = Speech(audio), Speech(audio)
    one.push(16_000)
    with pytest.raises(TooLarge):
        other.push(1)
    one.held = 0
    other.push(16_000)


def test_what_is_lost_on_the_way_weighs_nothing() -> None:
    audio = HeldAudio(1.0)
    Speech(audio).push(16_000)
    gc.collect()
    assert audio.seconds == 0.0
    Speech(audio).push(16_000)


def test_a_refused_frame_does_not_count() -> None:
    audio = HeldAudio(1.0)
    speech = Speech(audio)
    for _ in range(3):
        with pytest.raises(TooLarge):
            speech.push(16_001)
    speech.push(16_000)


def test_what_was_let_go_is_not_counted_for_ever() -> None:
    audio = HeldAudio(1.0)
    for _ in range(100):
        speech = Speech(audio)
        speech.push(16_000)
        speech.held = 0


def test_the_sum_is_taken_only_when_it_might_be_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    audio, sums = HeldAudio(60.0), []
    monkeypatch.setattr(audio, "_held", lambda: sums.append(1) or 0)
    speech = Speech(audio)
    for _ in range(50):
        speech.push(16_000)
    assert not sums
