"""How far ahead of the listener the sound may run, and what was really heard. Pure: time is given.

The client is taken to play from the arrival of the first sample on, without gaps but where the server
was late; its `played` reports, where it sends them, are believed instead.
"""

from __future__ import annotations

from dataclasses import dataclass

_LETTER_MS = 60  # of a clause whose voice has not said yet how long it takes


@dataclass(frozen=True, slots=True)
class _Spoken:
    text: str
    at_ms: int


class Playback:
    """Account for one turn's sound. Times are seconds of any monotonic clock."""

    def __init__(self, rate_hz: int, *, ahead_ms: int) -> None:
        self._rate_hz = rate_hz
        self._ahead_s = ahead_ms / 1000
        self._sent = 0  # samples
        self._ends: float | None = None  # when the last sample handed out will have been played
        self._due = 0.0  # before this the client is not taken to lack sound
        self.starved_s = 0.0  # how long it had nothing to play between the first sample and the last
        self._played_ms: int | None = None
        self._clauses: list[_Spoken] = []
        self._made: list[int] = []  # samples of each clause, as far as the voice has come
        self._whole = 0  # clauses that it is done with
        self.reply_from = 0  # clauses before this one belong to what was said before tools were used

    @property
    def sent_ms(self) -> int:
        """How much sound was handed out."""
        return self._sent * 1000 // self._rate_hz

    def making(self) -> None:
        """Note that the voice begins another clause: it works ahead of the player."""
        self._made.append(0)

    def made(self, samples: int, *, whole: bool = False) -> None:
        """Note that it made so much more of that clause; `whole`: and that this is all."""
        self._made[-1] += samples
        self._whole += whole

    def clause(self, text: str) -> int:
        """Note that a clause begins with the next sample; return its place in ms."""
        self._clauses.append(_Spoken(text, self.sent_ms))
        return self.sent_ms

    def wait_s(self, samples: int, now: float) -> float:
        """Return how long to hold these samples back, 0 to send them now."""
        if self._ends is None:
            return 0.0
        return max(0.0, self._ends + samples / self._rate_hz - now - self._ahead_s)

    def sent(self, samples: int, now: float) -> None:
        """Note that samples were handed to the socket."""
        if self._ends is not None:
            self.starved_s += max(0.0, now - max(self._ends, self._due))
        begins = now if self._ends is None else max(self._ends, now)
        self._ends = begins + samples / self._rate_hz
        self._sent += samples

    def nothing_due(self, now: float) -> None:
        """Note that there was nothing to say until now: tools were at work. That is no lack of sound."""
        self._due = now

    def remaining_s(self, now: float) -> float:
        """Return how long the client still plays what it holds."""
        return 0.0 if self._ends is None else max(0.0, self._ends - now)

    def played(self, ms: int) -> None:
        """Believe the client's report; never more than was sent, never less than it said before."""
        self._played_ms = max(self._played_ms or 0, min(ms, self.sent_ms))

    def heard_ms(self, now: float) -> int:
        """Return how much was heard: as reported, else by the clock."""
        if self._played_ms is not None:
            return self._played_ms
        return max(0, self.sent_ms - round(self.remaining_s(now) * 1000))

    def heard_text(self, heard_ms: int) -> str:
        """Return the reply's words among the first `heard_ms`; a clause cut short keeps its whole words."""
        return " ".join(filter(None, self.heard_clauses(heard_ms)[self.reply_from :]))

    def heard_clauses(self, heard_ms: int) -> list[str]:
        """Return the clauses of the first `heard_ms`, the last as far as it was heard."""
        words: list[str] = []
        ends = [clause.at_ms for clause in self._clauses[1:]] + [self._last_clause_ends_ms()]
        for clause, end_ms in zip(self._clauses, ends, strict=False):
            if heard_ms >= end_ms and (end_ms > clause.at_ms or clause is not self._clauses[-1]):
                words.append(clause.text)
                continue
            # Every letter is taken to last equally long: good to about a word.
            share = (heard_ms - clause.at_ms) / max(1, end_ms - clause.at_ms)
            cut = round(len(clause.text) * max(0.0, share))
            # The word in whose middle the cut falls was not understood.
            head = clause.text if cut >= len(clause.text) else clause.text[: cut + 1].rpartition(" ")[0]
            words.append(head)
            break
        return words

    def _last_clause_ends_ms(self) -> int:
        """Return where the clause ends that was begun last: all that was made of it, sent or not."""
        number = len(self._clauses)
        if not 0 < number <= len(self._made):
            return self.sent_ms
        length_ms = self._made[number - 1] * 1000 // self._rate_hz
        if number > self._whole:
            length_ms = max(length_ms, len(self._clauses[-1].text) * _LETTER_MS)
        return max(self.sent_ms, self._clauses[-1].at_ms + length_ms)
