"""What a session's turns are made of: its settings, its limits, its conversation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from riposte.audio import to_f32
from riposte.config import Config
from riposte.interfaces import SPEECH_RATE_HZ, Heard, Pcm16, Sampling
from riposte.memory import Memory
from riposte.resample import Resampler
from riposte.settings import Settings
from riposte.turn.clock import Clock
from riposte.turn.echo import EchoGate
from riposte.turn.machine import StartTurn
from riposte.turn.spec import Deadlines, TurnSpec

Words = Callable[[], Awaitable[Heard]]


@dataclass(frozen=True, slots=True)
class TurnMaking:
    """Makes the specifications of one session's turns. `paced` False: sound is not held back.

    `session_at` tells how many samples were heard, `echo` gives the gate of the present microphone.
    """

    key: str
    config: Config
    memory: Memory
    clock: Clock
    paced: bool
    session_at: Callable[[], int]
    echo: Callable[[], EchoGate | None]

    def spec(
        self, action: StartTurn, settings: Settings, words: Words | None, release: Callable[[], None]
    ) -> TurnSpec:
        """Return what the turn answers, and how, with the settings of now."""
        turn = self.config.turn
        return TurnSpec(
            number=action.turn,
            clock=action.clock,
            text=action.text,
            words=words,
            release=release,
            say=action.say,
            modalities=frozenset({"audio"}) if action.say else settings.modalities,
            voice=action.voice or settings.voice,
            audio_out_hz=settings.audio_out_hz,
            sampling=Sampling(max_tokens=settings.max_tokens, temperature=settings.temperature),
            conversation_key=self.key,
            tools=settings.tools,
            tool_rounds=turn.tool_rounds,
            ahead_ms=turn.ahead_ms if self.paced else None,
            deadlines=Deadlines(
                asr_s=turn.asr_deadline_s,
                llm_s=turn.llm_deadline_s,
                tts_s=turn.tts_deadline_s,
                tool_s=turn.tool_deadline_s,
                stop_s=turn.stop_deadline_s,
            ),
            timer=self.clock,
            sounding=self._sounding(settings),
            prompt=lambda user: self.memory.prompt(settings, user),
            shorten=lambda own: self.memory.shorten(settings, own),
        )

    def _sounding(self, settings: Settings) -> Callable[[Pcm16, float], None] | None:
        """Return what tells the echo gate of a turn's sound; None where it would not matter."""
        if not self.paced or settings.turn_detection == "none" or not self.config.turn.echo_gate:
            return None
        resampler = Resampler(settings.audio_out_hz, SPEECH_RATE_HZ)

        def sounding(pcm: Pcm16, in_s: float) -> None:
            if (echo := self.echo()) is not None:  # else the microphone gave nothing yet
                at = self.session_at() + round(in_s * SPEECH_RATE_HZ)
                echo.sent(resampler.push(to_f32(pcm)), at)

        return sounding
