"""The models with a watch beside them: how long their work takes, and how it ends.

Around the models and not inside: whatever back end is chosen is measured alike, queueing included, and
a turn knows nothing of it. Voice activity is left alone: it runs for every frame.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, TypeVar, cast

from riposte.interfaces import Asr, Heard, Listening, Llm, Models, Pcm16, Piece, Priority, Tts
from riposte.log import PACE_TOKENS
from riposte.metrics import Metrics, Outcome, Role

T = TypeVar("T")


def timed(models: Models, metrics: Metrics) -> Models:
    """Return the same models, whose work leaves its times in `metrics`."""
    return Models(
        asr=cast(Asr, _TimedAsr(models.asr, metrics)),
        llm=cast(Llm, _TimedLlm(models.llm, metrics)),
        tts=cast(Tts, _TimedTts(models.tts, metrics)),
        vad=models.vad,
        turn=models.turn,
    )


class _Timed:
    """Everything that is not measured is the model's own."""

    def __init__(self, model: Any, metrics: Metrics) -> None:
        self._model = model
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)


class _TimedLlm(_Timed):
    async def generate(self, *arguments: Any, **named: Any) -> AsyncGenerator[Piece, None]:
        """Yield the reply; note the wait for its first text, and the pace of what follows."""
        stream = self._model.generate(*arguments, **named)
        asked, first, last, tokens = time.perf_counter(), None, 0.0, 0
        async with aclosing(_counted(stream, "llm", self._metrics)) as pieces:
            async for piece in pieces:
                if piece.token_ids:
                    last = time.perf_counter()
                    if first is None:
                        first = last
                        self._metrics.observe_first_text(first - asked)
                    else:
                        tokens += len(piece.token_ids)
                yield piece
        if first is not None and tokens + 1 >= PACE_TOKENS:
            self._metrics.observe_token((last - first) / tokens)


class _TimedTts(_Timed):
    async def speak(self, *arguments: Any, **named: Any) -> AsyncGenerator[Pcm16, None]:
        """Yield the clause's sound; note the wait for its first piece."""
        stream = self._model.speak(*arguments, **named)
        asked, waiting = time.perf_counter(), True
        async with aclosing(_counted(stream, "tts", self._metrics)) as pieces:
            async for pcm in pieces:
                if waiting:
                    waiting = False
                    self._metrics.observe_first_sound(time.perf_counter() - asked)
                yield pcm


class _TimedAsr(_Timed):
    def listen(self, **named: Any) -> Listening:
        """Begin an utterance whose recognitions are timed."""
        return _TimedListening(self._model.listen(**named), self._metrics)


class _TimedListening:
    def __init__(self, listening: Listening, metrics: Metrics) -> None:
        self._listening = listening
        self._metrics = metrics
        self.push = listening.push  # for every frame: not a call more than without us
        self.close = listening.close

    async def transcribe(self, priority: Priority = Priority.FIRST, *, until: int | None = None) -> Heard:
        """Return the words; note how long they took."""
        asked = time.perf_counter()
        outcome: Outcome = "cut"
        try:
            heard = await self._listening.transcribe(priority, until=until)
            outcome = "whole"
        except Exception:
            outcome = "failed"
            raise
        finally:
            self._metrics.count_stream("asr", outcome)
        self._metrics.observe_recognition(time.perf_counter() - asked, ahead=priority is Priority.AHEAD)
        return heard


async def _counted(stream: AsyncGenerator[T, None], role: Role, metrics: Metrics) -> AsyncGenerator[T, None]:
    """Pass a stream on and close it in the end; count how it ended."""
    outcome: Outcome = "cut"
    try:
        async with aclosing(stream):
            async for item in stream:
                yield item
        outcome = "whole"
    except Exception:
        outcome = "failed"
        raise
    finally:
        metrics.count_stream(role, outcome)
