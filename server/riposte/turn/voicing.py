"""The voice of a turn: clauses become sound, and sound leaves paced."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass, field

import numpy as np

from riposte.audio import leading_silence, to_f32, to_s16
from riposte.interfaces import Pcm16, Priority, Tts
from riposte.resample import Resampler
from riposte.turn.gate import Gate
from riposte.turn.joins import Joins
from riposte.turn.owed import Owed
from riposte.turn.playback import Playback
from riposte.turn.spec import Stages, TurnSpec
from riposte.wire.frames import AudioOut, Clause

# A frame of sound: long enough to be cheap, short enough that a barge-in finds little under way.
FRAME_MS = 40
# Made ahead of the player: the next clause is ready while this one plays, and no more.
MADE_AHEAD_S = 4.0


@dataclass(slots=True)
class Voicing:
    """Speaks and plays one turn: two coroutines of its task group, and the sound between them.

    `silence`: samples before the first audible one, known once something is `audible`.
    """

    spec: TurnSpec
    tts: Tts
    gate: Gate
    stages: Stages
    owed: Owed
    playback: Playback = field(init=False)
    silence: int = 0
    audible: bool = False
    _sound: asyncio.Queue[str | Pcm16 | None] = field(init=False)  # bounded by the time made ahead

    def __post_init__(self) -> None:
        self.playback = Playback(self.spec.audio_out_hz, ahead_ms=self.spec.ahead_ms or 0)
        self._sound = asyncio.Queue(round(MADE_AHEAD_S * 1000 / FRAME_MS))

    async def speak(self, clauses: asyncio.Queue[str | None]) -> None:
        """Turn clauses, up to a None, into sound at the client's rate, joined and cut into frames."""
        spec, playback, sound = self.spec, self.playback, self._sound
        joins, resample = Joins(self.tts.rate_hz), Resampler(self.tts.rate_hz, spec.audio_out_hz)
        size = spec.audio_out_hz * FRAME_MS // 1000
        while (clause := await clauses.get()) is not None:
            if self.stages.tts_first_audio is not None:
                await self.gate.opened()  # a draft needs no more than its first clause
            # Behind the first one, too, somebody may wait in silence: for tools, or for a slow model.
            silent = sound.empty() and playback.remaining_s(spec.timer.now()) <= 0
            priority = Priority.FIRST if silent else Priority.LATER
            await sound.put(clause)
            joins.begin(clause)
            playback.making()
            rest = np.empty(0, np.int16)
            stream = self.tts.speak(clause, voice=spec.voice, priority=priority)
            async with aclosing(self.owed.each(stream, spec.deadlines.tts_s, "the voice")) as pieces:
                async for pcm in pieces:
                    if self.stages.tts_first_audio is None:
                        self.stages.tts_first_audio = spec.timer.now()
                    piece = _resampled(resample, joins.push(pcm))
                    playback.made(piece.size)
                    rest = np.concatenate((rest, piece))
                    # A first sound leaves whole: the next may take longer than the rest of a frame lasts.
                    least = 1 if silent else size
                    while rest.size >= least:
                        await sound.put(rest[:size])
                        rest, silent = rest[size:], False
            # At the clause's end nothing is held back: the next one may be a while.
            piece = np.concatenate((_resampled(resample, joins.end()), to_s16(resample.flush())))
            playback.made(piece.size, whole=True)
            rest = np.concatenate((rest, piece))
            for at in range(0, rest.size, size):
                await sound.put(rest[at : at + size])
        await sound.put(None)

    async def play(self) -> None:
        """Send the sound, at most `ahead_ms` before it is heard; end when the last of it has been heard."""
        spec, playback, timer = self.spec, self.playback, self.spec.timer
        await self.gate.opened()
        seq = 0
        while (item := await self._sound.get()) is not None:
            if isinstance(item, str):
                await self.gate.put(Clause(spec.number, item, playback.clause(item)))
                continue
            if spec.ahead_ms is not None and (wait_s := playback.wait_s(item.size, timer.now())) > 0:
                await timer.sleep(wait_s)
            if not self.audible:
                self._find_audible(item)
            await self.gate.put(AudioOut(spec.number, seq, item.astype("<i2", copy=False).tobytes()))
            now = timer.now()
            if spec.sounding is not None:
                spec.sounding(item, playback.remaining_s(now))
            playback.sent(item.size, now)
            seq += 1
        if spec.ahead_ms is not None and (rest_s := playback.remaining_s(timer.now())) > 0:
            await timer.sleep(rest_s)

    def _find_audible(self, pcm: Pcm16) -> None:
        silent = leading_silence(pcm)
        self.silence += silent
        self.audible = silent < pcm.size


def _resampled(resampler: Resampler, pcm: Pcm16) -> Pcm16:
    return to_s16(resampler.push(to_f32(pcm)))
