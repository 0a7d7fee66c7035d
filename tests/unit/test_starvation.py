"""Sound that has begun does not run dry while the models keep up: whole replies, in made-up time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families
from virtual import LoopClock, VirtualLoop

from riposte.backends.fake import FakeAsr, FakeLlm, FakeTts, FakeVad
from riposte.config import Config
from riposte.interfaces import Models, Pcm16, Priority
from riposte.memory import Memory
from riposte.metrics import Metrics
from riposte.session import Session
from riposte.turn.held import HeldAudio
from riposte.wire import frames as wire

CHAR_S = 1 / 15  # people say about fifteen characters a second


class Noting(FakeTts):
    """A voice that notes how urgent each clause was."""

    def __init__(self, *, char_ms: int, piece_s: float = 0.0) -> None:
        super().__init__(char_ms=char_ms, piece_s=piece_s)
        self.asked: list[Priority] = []

    async def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        self.asked.append(priority)
        async with aclosing(super().speak(text, voice=voice)) as pieces:
            async for piece in pieces:
                yield piece


class WholeClauses(Noting):
    """A voice that gives a clause's sound when all of it is made, as most neural ones do."""

    def __init__(self, *, real_time: float, char_ms: int) -> None:
        super().__init__(char_ms=char_ms)
        self._real_time = real_time
        self._loading = asyncio.Lock()

    async def speak(
        self, text: str, *, voice: str, priority: Priority = Priority.FIRST
    ) -> AsyncGenerator[Pcm16, None]:
        async with self._loading, aclosing(super().speak(text, voice=voice, priority=priority)) as pieces:
            whole = [piece async for piece in pieces]
            await self._pause(sum(map(len, whole)) / self.rate_hz * self._real_time)
            for piece in whole:
                yield piece


@dataclass
class Played:
    """What a client saw that plays whatever comes at once."""

    first_s: float
    gaps_s: list[float]
    sound_s: float
    starved_s: float  # by the server's own count
    most_ahead_s: float
    urgent: list[bool]  # of each clause: had the client nothing to play when it was asked for?


def played(text: str, *, word_s: float, real_time: float, whole: bool) -> Played:
    loop = VirtualLoop()

    async def listen() -> Played:
        char_ms = round(CHAR_S * 1000)
        tts = (
            WholeClauses(real_time=real_time, char_ms=char_ms)
            if whole
            else Noting(piece_s=0.1 * real_time, char_ms=char_ms)
        )
        models = Models(FakeAsr(), FakeLlm(token_s=word_s, reply=lambda _: text), tts, FakeVad())
        metrics = Metrics()
        session = Session(
            "session",
            models,
            Config(),
            metrics,
            HeldAudio(10.0),
            Memory("session", models.llm),
            clock=LoopClock(loop),
        )
        outbox = session.attach()
        await session.receive(wire.Text("go on"))
        first, ends, gaps, ahead, sound = None, 0.0, [], [], 0.0
        async for frame in outbox:
            now = loop.time()
            if isinstance(frame, wire.AudioOut):
                length = len(frame.pcm) / 2 / session.settings.audio_out_hz
                if first is None:
                    first = ends = now
                gaps.append(max(0.0, now - ends))
                ends = max(ends, now) + length
                sound += length
                ahead.append(ends - now)
            elif isinstance(frame, wire.Done):
                assert frame.reason == "stop"
                break
        await session.aclose()
        assert first is not None
        samples = [
            s for f in text_string_to_metric_families(metrics.exposition()[0].decode()) for s in f.samples
        ]
        starved_s = next(s.value for s in samples if s.name == "riposte_starved_seconds_total")
        urgent = [priority is Priority.FIRST for priority in tts.asked]
        return Played(first, gaps, sound, starved_s, max(ahead), urgent)

    return loop.run(listen())


def prose(rng: random.Random, words: int) -> str:
    """Words of any length, with marks at any distance: from "Yes. No." to a hundred words without one."""
    said, mark_every = [], rng.choice([2, 4, 9, 25, 100])
    for _ in range(words):
        said.append("".join(rng.choice("aeimnorst") for _ in range(rng.randrange(1, 11))))
        if rng.randrange(mark_every) == 0:
            said[-1] += rng.choice([".", ",", "?", " –", "."])
    return " ".join(said)


@pytest.mark.parametrize("whole", [False, True])
def test_sound_never_runs_dry_while_the_models_keep_up(whole):
    """Words come eight times as fast as they are said; sound twice as fast, a whole clause four times."""
    rng = random.Random(11)
    for _ in range(6):
        seen = played(
            prose(rng, 80),
            word_s=0.05,
            real_time=0.25 if whole else 0.5,
            whole=whole,
        )
        assert sum(seen.gaps_s) == pytest.approx(0.0, abs=1e-6)
        assert seen.starved_s == 0
        assert seen.most_ahead_s <= 0.3 + 1e-6
        assert seen.sound_s > 20


def test_a_model_that_does_not_keep_up_is_seen_and_counted():
    text = "Every word of this comes slower than it is said, and that is heard."
    seen = played(text, word_s=0.8, real_time=0.1, whole=False)
    assert sum(seen.gaps_s) > 1
    assert seen.starved_s == pytest.approx(sum(seen.gaps_s))


def test_the_first_sound_of_a_slow_streaming_voice_leaves_whole():
    """Its first 100 ms have to last for the 90 that the next 100 take."""
    seen = played("Well, all is well.", word_s=0.01, real_time=0.9, whole=False)
    assert (
        max(seen.gaps_s) <= 0.021
    )  # 15 ms of silence at its head, and 5 at its end, are not there to be played


def test_only_clauses_that_come_into_silence_go_before_those_of_others():
    text = "Well, all is well. " * 8
    assert played(text, word_s=0.01, real_time=0.1, whole=True).urgent == [True] + [False] * 7
    slow = played("Well, all is well. " * 3, word_s=1.5, real_time=0.1, whole=True)
    assert slow.urgent == [True, True, True]
