"""Does pico's hearing understand? espeak-ng speaks, WhisperAsr listens. Needs trained weights."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
from hearing_sound import spoken

from riposte.backends.asr_whisper import WhisperAsr
from riposte.interfaces import Heard, PcmF32
from riposte.manifest import MANIFEST_NAME

HEARING = Path(__file__).parents[2] / "onnx_models" / "pico" / "hearing"
RATE = 16_000
SENTENCES = (
    "Turn on the lights in the kitchen.",
    "What time is it?",
    "Set a timer for ten minutes.",
    "My name is Anna.",
    "Good morning.",
    "What is seven plus five?",
)

pytestmark = pytest.mark.skipif(
    not (HEARING / MANIFEST_NAME).is_file(), reason="no hearing built; run `make engines PROFILE=pico`"
)


@pytest.fixture
async def asr() -> AsyncIterator[WhisperAsr]:
    asr = WhisperAsr(HEARING)
    yield asr
    await asr.aclose()


@pytest.fixture(scope="module", autouse=True)
def _spoken_before() -> None:
    """Speak outside of any test's loop."""
    for sentence in SENTENCES:
        spoken(sentence)


async def hear(asr: WhisperAsr, *sounds: PcmF32) -> Heard:
    listening = asr.listen()
    for sound in sounds:
        listening.push(sound)
    heard = await listening.transcribe()
    listening.close()
    return heard


def words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())


def word_errors(said: list[str], heard: list[str]) -> int:
    """Return how many words have to be changed, added or left out."""
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (word != other))
    return row[-1]


async def test_sentences_are_understood(asr: WhisperAsr) -> None:
    errors = total = 0
    for sentence in SENTENCES:
        heard = await hear(asr, spoken(sentence))
        errors += word_errors(words(sentence), words(heard.text))
        total += len(words(sentence))
    assert errors / total <= 0.1


async def test_speech_beyond_the_window_is_understood(asr: WhisperAsr) -> None:
    pause = np.zeros(RATE // 2, np.float32)
    heard = await hear(asr, *(part for sentence in SENTENCES for part in (spoken(sentence), pause)))
    said = words(" ".join(SENTENCES))
    assert word_errors(said, words(heard.text)) / len(said) <= 0.15
    assert heard.stable > 0


@pytest.mark.parametrize("sound", ["noise", "hiss", "tone", "hum"])
async def test_what_nobody_said_has_no_words(asr: WhisperAsr, sound: str) -> None:
    time_s = np.arange(10 * RATE) / RATE
    noise = np.random.default_rng(1).standard_normal(time_s.size)
    made = {
        "noise": 0.05 * noise,
        "hiss": 0.002 * noise,
        "tone": 0.2 * np.sin(2 * np.pi * 440 * time_s),
        "hum": 0.05 * np.sin(2 * np.pi * 50 * time_s) + 0.02 * np.sin(2 * np.pi * 150 * time_s),
    }
    for seconds in (1, 3, 10):
        heard = await hear(asr, made[sound][: seconds * RATE].astype(np.float32))
        assert heard.text == ""
