"""A microphone: sound in, what the voice does out, and whose the utterance is. Fakes hear tones as speech."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from talking import pcm
from talks import OnceFailing, cut

from riposte.backends.fake import FakeAsr
from riposte.errors import EngineError
from riposte.interfaces import PcmF32
from riposte.turn.endpoint import Due, EndpointRule, Faded, Onset, Started, Stopped
from riposte.turn.held import HeldAudio
from riposte.turn.microphone import Microphone, MicrophoneEvent, Tick
from riposte.turn.utterance import Utterance

RULE = EndpointRule(min_speech_ms=96, pause_ms=72, silence_min_ms=120, silence_max_ms=1_000, pre_roll_ms=300)
SECOND = 32_000  # bytes


class Listener:
    """Ends a turn after 200 ms of silence, and lets it be gone on with up to the sample `until`."""

    def __init__(self) -> None:
        self.mic: Microphone
        self.events: list[MicrophoneEvent] = []
        self.taken: list[Utterance] = []
        self.words: list[str] = []
        self.until = 0

    async def heard(self, event: MicrophoneEvent) -> None:
        self.events.append(event)
        if isinstance(event, Due):
            self.mic.endpoint.wait_ms = 200
        if isinstance(event, Stopped):
            self.taken.append(utterance := self.mic.take(event, 0.0))
            self.words.append((await utterance.transcribe()).text)

    def resumable(self, at: int) -> bool:
        return at <= self.until

    def clean(self, pcm: PcmF32, at: int) -> PcmF32:
        return pcm

    async def hear(self, *sounds: bytes, size: int = 640) -> None:
        for sound in sounds:
            for piece in cut(sound, size):
                await self.mic.push(piece, 0.0)


@pytest.fixture
def vad() -> OnceFailing:
    return OnceFailing()


@pytest.fixture
async def one(vad: OnceFailing) -> AsyncIterator[Listener]:
    asr, listener, held = FakeAsr(), Listener(), HeldAudio(100.0)
    listener.mic = Microphone(
        asr,
        vad.open(),
        listener,
        window=512,
        rate_hz=16_000,
        rule=RULE,
        language=None,
        waiting_s=3.0,
        held_audio=held,
    )
    yield listener
    listener.mic.close()
    for utterance in listener.taken:
        utterance.close()
    assert (asr.active, vad.active) == (0, 0)


def kinds(one: Listener) -> list[type]:
    return [type(event) for event in one.events if not isinstance(event, Tick)]


async def test_what_may_become_speech_needs_sound_to_be_decided(one: Listener) -> None:
    await one.hear(bytes(SECOND // 2))
    assert not one.mic.speaking
    await one.hear(pcm(""))
    assert kinds(one) == [Onset]
    assert one.mic.speaking
    await one.hear(bytes(SECOND // 5))
    assert kinds(one) == [Onset, Faded]
    assert not one.mic.speaking


@pytest.mark.parametrize("size", [200, 640, SECOND, 10 * SECOND])
async def test_who_goes_on_in_time_has_the_same_utterance_in_frames_of_any_length(
    one: Listener, size: int
) -> None:
    sound = pcm("turn on", lead_s=0.3, tail_s=0.6) + pcm("the lights", tail_s=0.4)
    one.until = round(16_000 * 1.24) + 256  # where it begins
    await one.hear(sound, size=size)
    first, second = one.taken
    assert first is second
    assert one.words == ["turn on", "turn on the lights"]


async def test_who_goes_on_too_late_has_another_utterance(one: Listener) -> None:
    sound = pcm("turn on", lead_s=0.3, tail_s=0.6) + pcm("the lights", tail_s=0.4)
    await one.hear(sound)
    first, second = one.taken
    assert first is not second
    assert not second.continued
    assert one.words == ["turn on", "the lights"]


async def test_an_utterance_that_is_full_is_not_gone_on_with(one: Listener) -> None:
    one.until = 16_000 * 60
    await one.hear(pcm("one two three four five six seven " * 5))
    assert (kinds(one).count(Started), kinds(one).count(Stopped)) == (3, 2)  # of 6.9 s, 3 s each
    assert one.taken[0] is not one.taken[1]


async def test_what_was_said_over_nothing_goes_back_to_who_said_it(one: Listener) -> None:
    one.until = 16_000 * 60
    await one.hear(pcm("turn on", tail_s=0.4), pcm("the"))
    assert one.mic.utterance is one.taken[0]
    one.mic.endpoint.stop()
    one.mic.forget()  # it was a backchannel
    await one.hear(bytes(SECOND // 2), pcm("lights", tail_s=0.4))
    assert one.taken[0] is one.taken[1]
    assert one.taken[1].continued


async def test_time_goes_on_where_the_detector_failed(one: Listener, vad: OnceFailing) -> None:
    await one.hear(pcm("hello", lead_s=0.3))
    vad.fails = True
    with pytest.raises(EngineError, match="failed"):
        await one.hear(bytes(SECOND), size=SECOND)
    assert one.mic.judged_at == one.mic.at
    assert one.mic.speaking
    await one.hear(bytes(SECOND // 5))
    assert kinds(one)[-1] is Stopped
    assert one.words == ["hello"]
