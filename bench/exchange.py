"""One utterance into an open microphone, and everything that comes of it, with a watch on each stage."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from tqdm import tqdm

from bench.open_mic import Said, Talk, TurnHeard, talking
from bench.report import Share, Spread, spread
from bench.server import ServerProcess
from bench.speech import Paused, Spoken
from bench.words import distance

CONVERSATION_TURNS = 10
ANSWER_S = 4.0  # after the last voiced sample; the most patient server waits a second
LINGER_S = 1.1  # speech within a second of a release would join what came before
QUIET_S = 0.4  # of room before somebody speaks

WATCH = "audible, client's watch"
# The figures of a row, in the order of a turn: name → field of `timing`.
STAGES = {
    "end of turn": "endpoint",
    "transcript": "asr",
    "first token": "llm_first_token",
    "first sound made": "tts_first_audio",
    "first audio": "first_audio_sent",
    "audible": "audible",
}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One utterance and what came of it."""

    spoken: Spoken | Paused
    said: Said
    turns: list[TurnHeard]
    answer: TurnHeard | None  # the first turn to sound after the last voiced sample
    refused: int = 0  # as busy

    @property
    def words(self) -> str:
        """What was heard in the end."""
        return self.turns[-1].words if self.turns else ""

    @property
    def gap_ms(self) -> float | None:
        """From the last voiced sample to the first audible one, by the client's watch."""
        if self.answer is None or self.answer.audible_at is None:
            return None
        return (self.answer.audible_at - self.said.ends_at) * 1000

    def readings(self) -> dict[str, float]:
        """Return this exchange's figures by their names in a row."""
        if self.answer is None or self.answer.done is None or self.gap_ms is None:
            return {}
        timing = self.answer.done.timing
        found = {name: getattr(timing, stage) for name, stage in STAGES.items()} | {WATCH: self.gap_ms}
        return {name: value for name, value in found.items() if value is not None}


async def exchange(talk: Talk, spoken: Spoken | Paused) -> Exchange:
    """Say this, hear the reply begin, and go on once neither can touch what is said next."""
    before, refused = talk.ears.latest, talk.ears.refused
    said = talk.microphone.say(spoken.pcm)

    def sounding() -> TurnHeard | None:
        late = (turn for turn in talk.ears.since(before) if (turn.audible_at or 0.0) > said.ends_at)
        return next(late, None)

    answer = await talk.ears.until(sounding, said.ends_at + ANSWER_S)
    await asyncio.sleep(LINGER_S)
    await talk.hush()
    turns = [turn for turn in talk.ears.since(before) if turn.taken]
    return Exchange(spoken, said, turns, answer, talk.ears.refused - refused)


async def conversations(
    url: str,
    spoken: Sequence[Spoken | Paused],
    number: int,
    bar: tqdm,
    patience: float | None = None,
) -> list[Exchange]:
    """Say one after the other, in conversations of ten turns."""
    seen = []
    for begin in range(0, len(spoken), CONVERSATION_TURNS):
        async with talking(url, 1000 * number + begin, patience=patience) as talk:
            await asyncio.sleep(QUIET_S)
            for each in spoken[begin : begin + CONVERSATION_TURNS]:
                seen.append(await exchange(talk, each))
                bar.update()
    return seen


async def at_a_time(
    server: ServerProcess,
    spoken: Sequence[Spoken | Paused],
    sessions: int,
    title: str,
    patience: float | None = None,
) -> list[Exchange]:
    """Say everything, in so many sessions at a time."""
    with tqdm(total=len(spoken), desc=title, file=sys.stderr) as bar:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    conversations(server.ws_url, spoken[number::sessions], number, bar, patience),
                    name=f"session-{number}",
                )
                for number in range(sessions)
            ]
    return [one for task in tasks for one in task.result()]


def readings(seen: Sequence[Exchange]) -> dict[str, Spread]:
    """Return every figure that the exchanges have."""
    found: dict[str, list[float]] = {}
    for one in seen:
        for name, value in one.readings().items():
            found.setdefault(name, []).append(value)
    return {name: spread(values) for name, values in found.items()}


def failed(seen: Sequence[Exchange]) -> dict[str, int]:
    """Return the counts of exchanges that the server refused, and that an error ended."""
    ends = [[turn.done.reason for turn in one.turns if turn.done is not None] for one in seen]
    return {
        "refused as busy": sum(one.refused > 0 for one in seen),
        "ended in an error": sum("error" in reasons for reasons in ends),
    }


def words_wrong(seen: Sequence[Exchange]) -> Share:
    """Return how many words were lost, put in or misheard, of all that were said."""
    texts = [(one.spoken.text, one.words) for one in seen]
    return Share(sum(distance(*pair) for pair in texts), sum(len(said.split()) for said, _ in texts))
