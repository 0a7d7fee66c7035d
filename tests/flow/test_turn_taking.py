"""Pauses, ends, barge-ins, backchannels: what a session makes of the sound that it is given."""

from __future__ import annotations

import asyncio

import pytest
from talking import of, pcm, tokens
from talks import FRAME, LONG, OnceFailing, Talk, talk
from virtual import in_virtual_time

from riposte.backends.fake import FakeTurn
from riposte.backends.fake_speech import fake_words
from riposte.errors import EngineError
from riposte.interfaces import PcmF32
from riposte.turn.machine import DUCKED
from riposte.wire import frames as wire

CLICK = pcm("", lead_s=0.1)  # 60 ms of a tone: an onset, and too short to be speech


class Opinionated(FakeTurn):
    """Thinks the same of whatever it is given, and notes what that was: samples, and their words."""

    def __init__(self, opinion: float) -> None:
        super().__init__()
        self.heard: list[tuple[int, str]] = []
        self._opinion = opinion

    async def finished(self, pcm: PcmF32) -> float:
        self.heard.append((pcm.size, fake_words(pcm)))
        return self._opinion


@pytest.mark.parametrize("words", ["yes", "mm-hmm", "okay", "uh huh", "oui"])
@in_virtual_time
async def test_a_backchannel_lets_the_reply_go_on(words: str) -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(pcm(words, lead_s=0.1, tail_s=0.6))
        await asyncio.sleep(0)
        assert one.states == ["started", "stopped"]
        assert one.gains == [DUCKED, 1.0]
        assert of(one.frames, wire.Done) == of(one.frames, wire.Transcript) == []


@in_virtual_time
async def test_a_noise_ducks_the_reply_for_a_moment() -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(pcm("", lead_s=0.2, tail_s=0.5))  # 60 ms of a tone, and no word
        await asyncio.sleep(0)
        assert one.gains == [DUCKED, 1.0]
        assert of(one.frames, wire.Transcript) == of(one.frames, wire.Done) == []


@in_virtual_time
async def test_other_words_stop_the_reply_while_they_are_said() -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(pcm("stop that noise at once", lead_s=0.1))
        await one.until(wire.Done, 1)
        assert one.gains == [DUCKED, 0.0]
        assert of(one.frames, wire.Done)[0].reason == "interrupted"
        assert one.states == ["started"]


@in_virtual_time
async def test_an_unfinished_sentence_is_waited_for() -> None:
    async with talk() as one:
        await one.hear(pcm("turn on the", lead_s=0.3, tail_s=0.6), pcm("lights", tail_s=0.4))
        await one.until(wire.AudioOut)
        assert one.finals == ["turn on the lights"]
        assert one.states == ["started", "stopped"]


@in_virtual_time
async def test_a_patient_listener_waits_longer() -> None:
    async with talk() as one:
        await one.session.receive(wire.Hello(patience=1.0))
        await one.hear(pcm("turn it on", lead_s=0.3, tail_s=0.3), pcm("again", tail_s=1.2))
        await one.until(wire.AudioOut)
        assert one.finals == ["turn it on again"]


@in_virtual_time
async def test_a_draft_for_nothing_leaves_no_trace() -> None:
    async with talk() as one:
        # 96 ms are a pause, and no end yet.
        await one.hear(pcm("hello", lead_s=0.3, tail_s=0.096))
        await one.settle()
        await one.hear(pcm("you there", tail_s=0.4))
        await one.until(wire.Done)
        assert len(one.llm.prompts) == 2
        assert one.finals == ["hello you there"]
        assert {turn for f in one.frames if (turn := getattr(f, "turn", None)) is not None} == {1}
        assert tokens(one.frames) == "You said: hello you there"
        assert [f.seq for f in of(one.frames, wire.AudioOut)] == list(
            range(len(of(one.frames, wire.AudioOut)))
        )


@in_virtual_time
async def test_nothing_of_a_draft_is_seen_before_the_turn_is_over() -> None:
    async with talk() as one:
        await one.hear(pcm("hello you", lead_s=0.3, tail_s=0.1))
        await one.settle()
        assert one.llm.prompts, "the draft did not think ahead"
        assert {type(frame) for frame in one.frames} <= {wire.Speech, wire.Transcript}
        assert one.finals == []
        await one.hear(bytes(640 * 10))
        await one.until(wire.AudioOut)
        timing_of = of(one.frames, wire.Transcript)[-1]
        assert (timing_of.text, timing_of.final) == ("hello you", True)
        assert len(one.llm.prompts) == 1


@in_virtual_time
async def test_words_are_the_same_without_drafts() -> None:
    said = [pcm("what time is it", lead_s=0.3, tail_s=0.5), pcm("and the weather", lead_s=1.2, tail_s=1.2)]
    heard = []
    for speculate in (True, False):
        async with talk(turn__speculate=speculate) as one:
            await one.hear(said[0])
            await one.until(wire.Done, 1)
            await one.hear(said[1])
            await one.until(wire.Done, 2)
            heard.append((one.finals, tokens(one.frames)))
    assert heard[0] == heard[1]


@in_virtual_time
async def test_drafts_are_not_made_without_end() -> None:
    async with talk(turn__drafts_per_second=1) as one:
        for sound in (pcm("one", lead_s=0.3, tail_s=0.1), *[pcm("a", tail_s=0.1) for _ in range(3)]):
            await one.hear(sound)
            await one.settle()
        await one.hear(bytes(640 * 40))
        await one.until(wire.Done)
        assert one.finals == ["one a a a"]
        assert len(one.llm.prompts) == 2  # the first draft, and the turn itself


@in_virtual_time
async def test_a_draft_that_fails_is_told_of_when_it_is_a_turn() -> None:
    async with talk() as one:
        await one.hear(pcm("well #fail-tts and more", lead_s=0.3, tail_s=0.5))
        await one.until(wire.Done)
        assert [f.code for f in of(one.frames, wire.Error)] == ["engine"]
        assert of(one.frames, wire.Done)[0].reason == "error"


@in_virtual_time
async def test_typing_in_a_pause_gives_the_draft_up_and_keeps_the_words() -> None:
    async with talk() as one:
        await one.hear(pcm("hello you", lead_s=0.3, tail_s=0.1))
        await one.session.receive(wire.Text("typed"))
        await one.hear(bytes(640 * 40))
        await one.until(wire.Done, 2)
        assert one.finals == ["hello you"]
        users = [message.content for message in one.llm.prompts[-1] if message.role == "user"]
        assert users[-1] == "hello you"


@in_virtual_time
async def test_decisions_do_not_depend_on_how_the_sound_is_cut() -> None:
    sound = pcm("turn on the", lead_s=0.3, tail_s=0.5) + pcm("lights", tail_s=0.4)
    seen = []
    for step in (2, 200, 640, 2_000, 16_000):
        async with talk() as one:
            await one.hear(sound, size=step)
            await one.until(wire.Done)
            seen.append(([(f.state, f.at_ms) for f in of(one.frames, wire.Speech)], one.finals))
    assert seen.count(seen[0]) == len(seen)


@in_virtual_time
async def test_partial_words_do_not_depend_on_how_the_sound_is_cut() -> None:
    seen = []
    for size in (200, FRAME, 32_000):
        async with talk() as one:
            await one.hear(pcm("turn on the kitchen lights please", lead_s=0.3), size=size)
            await one.until(wire.Transcript)
            seen.append(of(one.frames, wire.Transcript)[0].text)
    assert seen == seen[:1] * 3


@in_virtual_time
async def test_speech_without_end_becomes_turns_of_the_longest_length() -> None:
    said = pcm("one two three four five six seven " * 5, lead_s=0.1)
    async with talk(limits__audio_waiting_s=2.0) as one:
        await one.hear(said, bytes(FRAME * 60))
        await one.settle()
        assert one.states.count("stopped") == one.states.count("started") == len(said) // (2 * 32_000) + 1


@in_virtual_time
async def test_a_client_that_is_muted_after_a_click_hears_the_reply_as_before() -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(CLICK)
        assert one.gains == [DUCKED]
        await asyncio.sleep(1.0)
        assert one.gains == [DUCKED, 1.0]
        assert one.states == []


@pytest.mark.parametrize("frame", [wire.Hello(turn_detection="none"), wire.Clear()])
@in_virtual_time
async def test_forgetting_a_click_gives_the_reply_its_loudness_back(frame: wire.ClientFrame) -> None:
    async with talk() as one:
        await one.reply()
        await one.hear(CLICK)
        await one.session.receive(frame)
        await asyncio.sleep(0)
        assert one.gains == [DUCKED, 1.0]


@in_virtual_time
async def test_a_reply_in_text_is_not_ducked() -> None:
    async with talk() as one:
        await one.session.receive(wire.Hello(modalities=["text"]))
        await one.type(LONG)
        await one.until(wire.Token)
        await one.hear(CLICK, bytes(FRAME * 15))
        await asyncio.sleep(0)
        assert one.gains == []


@in_virtual_time
async def test_a_backchannel_over_the_last_words_of_a_reply_is_no_turn() -> None:
    async with talk(turn__stalled_ms=5_000) as one:
        await one.reply("hello there")
        await one.hear(pcm("okay", lead_s=0.05, tail_s=0.1))
        assert one.gains == [DUCKED, 1.0]
        await one.until(wire.Done, 1)
        await one.hear(bytes(FRAME * 40))
        await one.settle()
        assert one.states == ["started", "stopped"]
        assert one.finals == []
        assert not one.session.in_turn


@pytest.mark.parametrize("leave", ["takes over", "hangs up"])
@in_virtual_time
async def test_who_leaves_while_his_words_are_judged_gets_no_answer_prepared(leave: str) -> None:
    async with talk() as one:
        await one.reply()
        one.asr.step_s = 0.2
        hearing = asyncio.create_task(one.hear(pcm("ok", lead_s=0.1, tail_s=0.12), size=32_000))
        await asyncio.sleep(0.1)
        assert one.asr.active == 2, "nothing is being judged"
        if leave == "takes over":
            one.session.attach()
        else:
            one.session.hang_up(1000, "deleted")
        await hearing
        assert one.session._taking._draft is None
        assert not one.session._taking.busy


@in_virtual_time
async def test_drafts_that_wait_for_a_reply_to_end_are_gone_when_they_are_dropped() -> None:
    async with talk(turn__stalled_ms=10_000) as one:
        await one.hear(pcm("well", lead_s=0.3))
        await one.type(LONG)
        await one.until(wire.AudioOut)
        for _ in range(6):
            await one.hear(bytes(3_072), pcm("a a"))  # a pause, and on
        await asyncio.sleep(0)
        assert [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("turn-")] == [
            "turn-talk-1"
        ]
        assert one.session._turns._admission.waiting == 0


@in_virtual_time
async def test_an_utterance_in_which_the_detector_failed_ends_although_nothing_more_comes() -> None:
    vad = OnceFailing()
    async with talk(vad=vad) as one:
        await one.hear(pcm("tell me about paris now", lead_s=0.3))
        vad.fails = True
        with pytest.raises(EngineError):
            await one.hear(bytes(2 * FRAME))
        await one.until(wire.Done)
        assert one.finals == ["tell me about paris now"]


async def wait_ms(one: Talk) -> int:
    """Return how long a silence ends the turn."""
    waited_ms = 0
    while "stopped" not in one.states:
        await one.hear(bytes(256))
        await asyncio.sleep(0)
        waited_ms += 8
    return waited_ms


@in_virtual_time
async def test_what_the_turn_detector_thinks_changes_how_long_is_waited() -> None:
    waits = {}
    for opinion in (None, 1e-5, 0.98):
        turn = None if opinion is None else Opinionated(opinion)
        async with talk(turn=turn) as one:
            await one.hear(pcm("turn it on", lead_s=0.3))
            waits[opinion] = await wait_ms(one)
            await one.until(wire.Done)
    assert waits[0.98] <= waits[None] < waits[1e-5]


@in_virtual_time
async def test_the_turn_detector_hears_the_same_however_long_the_words_take() -> None:
    heard = []
    for step_s in (0.0, 0.03):
        turn = Opinionated(0.98)
        async with talk(turn=turn) as one:
            one.asr.step_s = step_s
            await one.hear(pcm("hello you", lead_s=0.3, tail_s=0.4))
            await one.until(wire.Done)
            heard.append(turn.heard)
    assert [words for _, words in heard[0]] == ["hello you"]
    assert heard[0] == heard[1]
