"""One utterance on its way through a Whisper: what was pushed, what was heard of it, what was promised."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Protocol

from riposte.backends.promises import Promises
from riposte.backends.segments import SEARCHED, Segments
from riposte.backends.whisper_hearing import Hearing, Passage, Words
from riposte.errors import RiposteError
from riposte.interfaces import Heard, PcmF32, Priority
from riposte.mel import GrowingMel

_ANSWERS = 4  # kept: a draft's, which is asked for again at the end of the turn


class Model(Protocol):
    """What an utterance needs of its model."""

    @property
    def name(self) -> str:
        """For the names of tasks."""

    @property
    def hearing(self) -> Hearing:
        """What runs in the model's thread."""

    def hear(
        self, passages: Sequence[Passage], priority: Priority
    ) -> AsyncGenerator[tuple[int, Words], None]:
        """Yield the index and the words of each passage. Closing stops the model, within a run even."""

    def closed(self, listening: WhisperListening) -> None:
        """Note that an utterance is over."""


class _Segment:
    """What is known of one segment's words. `mel` is the model thread's."""

    def __init__(self, mels: int, promises: Promises) -> None:
        self.mel = GrowingMel(mels)
        self.promises = promises
        self.text: str | None = None  # when it is closed and was heard


class WhisperListening:
    """Listening of WhisperAsr. All of it runs on the loop, so nothing here needs a lock.

    Samples are kept until `close`, since a past moment may be asked about again. The words for the first
    so many samples depend on those samples and on what hypotheses for fewer had promised, on nothing else.
    """

    def __init__(self, model: Model, language: str | None, *, phrase: int | None) -> None:
        self._model = model
        self._language = language
        hearing = model.hearing
        # A closed segment leaves room for its tail of silence.
        limit = hearing.window - hearing.tail
        self._segments = Segments(limit, phrase)
        # From there on the cut may come anywhere, and words behind it are another segment's.
        self._promised_within = int((1 - SEARCHED) * limit)
        self._known: list[_Segment] = []  # by number; the last may be open
        self._waiting: list[int] = []  # closed and not heard yet
        self._answers: dict[int, Heard] = {}  # by samples; the oldest first
        self._ahead: asyncio.Task[None] | None = None
        self._closed = False

    def push(self, pcm: PcmF32) -> None:
        """Add samples at 16 kHz; after `close` they are dropped.

        A segment that is closed by them is heard in the background, so that at the end only the open one
        is left to do.
        """
        if self._closed:
            return
        before = len(self._segments.closed)
        self._segments.push(pcm)
        self._waiting += range(before, len(self._segments.closed))
        if self._waiting and self._ahead is None:
            self._ahead = asyncio.create_task(self._hear_ahead(), name=f"{self._model.name}-ahead")

    async def transcribe(self, priority: Priority = Priority.FIRST, *, until: int | None = None) -> Heard:
        """Return the words of the first `until` samples, or of all.

        Cancelling stops the model, within a run even. Raises EngineError when the model fails; everything
        pushed is kept, so it may be asked again. What was just answered is answered again without the model.
        """
        pushed = self._segments.samples
        samples = pushed if until is None else max(0, min(until, pushed))
        answer = self._answers.get(samples)
        if answer is not None:
            return answer
        # What runs at a low priority is stopped rather than waited for: it is a few milliseconds' work,
        # and behind another session's it could take long.
        self._stop_ahead()
        count = self._segments.closed_by(samples)
        before = [self._segment(number) for number in range(count)]
        segment = self._segment(count)
        begin = self._segments.open_at(samples)
        size = samples - begin
        passages = {number: self._whole(number) for number in self._waiting if number < count}
        if size:
            passages[count] = self._passage(begin, samples, segment.promises.by(size), segment)
        heard = await self._run(passages, priority)
        words = heard.get(count, Words(""))
        if size:
            segment.promises.add(size, words.tokens, words.logprobs)
        text = self._model.hearing.text
        texts = [closed.text or "" for closed in before]
        promised = text.words(segment.promises.by(size))
        answer = Heard(
            text.joined([*texts, words.text], self._language),
            len(text.joined([*texts, promised], self._language)),
        )
        if not self._closed:
            self._answers[samples] = answer
            if len(self._answers) > _ANSWERS:
                del self._answers[next(iter(self._answers))]
        return answer

    def close(self) -> None:
        """Drop the audio and stop what runs in the background. May be called twice."""
        self._closed = True
        self._stop_ahead()
        self._segments.clear()
        self._known.clear()
        self._waiting.clear()
        self._answers.clear()
        self._model.closed(self)

    def _segment(self, number: int) -> _Segment:
        while len(self._known) <= number:
            hearing = self._model.hearing
            promises = Promises(hearing.text.begins_word, within=self._promised_within)
            self._known.append(_Segment(hearing.mels, promises))
        return self._known[number]

    def _passage(self, begin: int, end: int, promised: tuple[int, ...], segment: _Segment) -> Passage:
        pcm = self._segments.slice(begin, end)
        return Passage(pcm, segment.mel, self._language, promised, segment.promises.latest)

    def _whole(self, number: int) -> Passage:
        """Return a closed segment, about which nothing more is promised: its words are about to be final."""
        closed, segment = self._segments.closed[number], self._segment(number)
        segment.promises.end()
        return self._passage(
            closed.begin, closed.end, segment.promises.by(closed.known - closed.begin), segment
        )

    async def _hear_ahead(self) -> None:
        try:
            while self._waiting:
                await self._run({number: self._whole(number) for number in self._waiting}, Priority.AHEAD)
        except RiposteError:
            return  # `transcribe` tries again, and tells; `_ahead` stays set, so that `push` does not
        self._ahead = None

    def _stop_ahead(self) -> None:
        if self._ahead is not None:
            self._ahead.cancel()
            self._ahead = None

    async def _run(self, passages: dict[int, Passage], priority: Priority) -> dict[int, Words]:
        """Hear passages by their segments' numbers; keep the words of closed ones as they come."""
        numbers, heard = list(passages), dict[int, Words]()
        async with aclosing(self._model.hear(list(passages.values()), priority)) as items:
            async for index, words in items:
                number = numbers[index]
                heard[number] = words
                if number in self._waiting:
                    self._waiting.remove(number)
                    segment = self._segment(number)
                    segment.text = words.text
                    segment.promises.latest = words.tokens
                    segment.mel = GrowingMel(self._model.hearing.mels)  # not needed again
        return heard
