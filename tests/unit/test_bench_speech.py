"""What the hands-free benches are made of: words compared, pauses found, a loudspeaker that is heard."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest

from bench.loudspeaker import Loudspeaker, rms
from bench.material import MICROPHONE_HZ
from bench.open_mic import Microphone
from bench.speech import Samples, longest_silence
from bench.words import has_both, word_errors
from riposte.client.client import Client
from riposte.wire.frames import AudioIn, AudioOut, Done, Timing, Usage

FRAME = 320


def test_word_errors_count_what_was_put_in_left_out_and_exchanged() -> None:
    assert word_errors(["a b c d"], ["a b c d"]) == 0
    assert word_errors(["a b c d"], ["a x c"]) == 0.5
    assert word_errors(["a b"], [""]) == 1
    assert word_errors(["a"], ["a b c"]) == 2


@pytest.mark.parametrize(
    ("heard", "whole"),
    [
        ("turn on the lights in the kitchen", True),
        ("turn on the light in a kitchen", True),
        ("turn on the lights", False),
        ("in the kitchen", False),
        ("", False),
        ("in the kitchen turn on the lights", False),
    ],
)
def test_a_transcript_has_both_halves_or_it_has_not(heard: str, whole: bool) -> None:
    assert has_both(heard, "turn on the lights", "in the kitchen") is whole


def voiced(ms: int) -> Samples:
    return np.full(ms * 16, 5_000, np.int16)


def silent(ms: int) -> Samples:
    return np.zeros(ms * 16, np.int16)


def test_the_place_of_a_pause_is_the_one_long_silence() -> None:
    sound = np.concatenate([voiced(300), silent(50), voiced(100), silent(180), voiced(200)])
    assert longest_silence(sound) == (450 * 16, 630 * 16)


@pytest.mark.parametrize(
    "sound",
    [
        voiced(300),
        np.concatenate([voiced(300), silent(80), voiced(100)]),
        np.concatenate([voiced(100), silent(180), voiced(100), silent(160), voiced(100)]),
    ],
)
def test_no_pause_or_two_have_no_place(sound: Samples) -> None:
    assert longest_silence(sound) is None


def test_a_loudspeaker_is_heard_later_and_softer() -> None:
    rng = np.random.default_rng(1)
    played = (rng.normal(0, 3_000, MICROPHONE_HZ)).clip(-32_768, 32_767).astype(np.int16)
    loudspeaker = Loudspeaker()
    loudspeaker.place(-12.0, 100, 1, played)
    loudspeaker.take(AudioOut(1, 0, played.tobytes()))
    loudspeaker.take(Done(1, "stop", None, Usage(), Timing("text")))
    heard = np.concatenate([loudspeaker.heard(FRAME) for _ in range(2 * MICROPHONE_HZ // FRAME)])
    first = int(np.flatnonzero(heard)[0])
    assert first == 100 * 16
    level_db = 20 * np.log10(rms(heard[first : first + played.size]) / rms(played))
    assert level_db == pytest.approx(-12.0, abs=1.0)


def test_headphones_are_not_heard() -> None:
    loudspeaker = Loudspeaker()
    loudspeaker.take(AudioOut(1, 0, voiced(500).tobytes()))
    assert not any(loudspeaker.heard(FRAME).any() for _ in range(50))


async def test_a_microphone_says_things_at_the_samples_asked_for() -> None:
    sent: list[bytes] = []

    class Line:
        async def send(self, frame: AudioIn) -> None:
            sent.append(frame.pcm)
            if len(sent) == 10:
                raise EOFError

    microphone = Microphone(cast("Client", Line()), 1, None)
    said = microphone.say(voiced(50), 1_000)
    assert said.ends_at - said.starts_at == pytest.approx(0.050)
    with pytest.raises(EOFError):
        await microphone.run()
    heard = np.flatnonzero(np.abs(np.frombuffer(b"".join(sent), "<i2").astype(np.int32)) > 1_000)
    assert (heard[0], heard[-1], heard.size) == (1_000, 1_799, 800)
