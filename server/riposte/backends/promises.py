"""Which words of a segment will stay, told while it is still being spoken.

Pure. Partial recognitions (hypotheses) come in; words are promised when several in a row agree on them and
are sure of them, and another word has begun behind them: later ones are made to begin with them.
docs/log.md has what other rules broke.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from riposte.interfaces import SPEECH_RATE_HZ

Tokens = tuple[int, ...]

# With pico's ears one promise in fifty is broken when three hypotheses merely agree, less than one in
# a thousand when each is also as sure as this of every token.
HYPOTHESES = 3
SURE = math.log(0.85)
AGREED = SPEECH_RATE_HZ // 2  # between the first and the last of them: asking often makes nothing surer


class Promises:
    """The hypotheses of one segment and what they led to.

    `begins_word` tells of a token whether what stands before it is whole words. Hypotheses for more than
    `within` samples promise nothing more: how much of them will be the segment is not known yet.
    """

    def __init__(self, begins_word: Callable[[int], bool], *, within: int) -> None:
        self._begins_word = begins_word
        self._within = within
        self._agreed: list[tuple[int, int]] = []  # of each sure token: since how many samples, how many times
        self._samples = 0  # of the longest hypothesis
        self._longest: Tokens = ()
        self._made: list[tuple[int, Tokens]] = []  # each promise, and the samples that it was made by
        self._over = False
        self.latest: Tokens = ()  # hypothesis, of however many samples

    def add(self, samples: int, tokens: Tokens, logprobs: tuple[float, ...]) -> None:
        """Take the hypothesis for the segment's first `samples` samples.

        One for fewer samples than another before it promises nothing more: what is promised by a moment
        stays as it was at that moment.
        """
        self.latest = tokens
        if samples <= self._samples:
            return
        agreed: list[tuple[int, int]] = []
        alike = True
        for at, (token, logprob) in enumerate(zip(tokens, logprobs, strict=True)):
            if logprob < SURE:
                break  # nor is anything promised behind it
            alike = alike and at < len(self._agreed) and self._longest[at] == token
            since, times = self._agreed[at] if alike else (samples, 0)
            agreed.append((since, times + 1))
        self._samples, self._longest, self._agreed = samples, tokens, agreed
        if self._over or samples > self._within:
            return
        count = self._whole_words()
        if count > len(self.by(samples)):
            self._made.append((samples, tokens[:count]))

    def by(self, samples: int) -> Tokens:
        """Return what hypotheses for so many samples, or fewer, promised."""
        return next((tokens for at, tokens in reversed(self._made) if at <= samples), ())

    def end(self) -> None:
        """Promise nothing more: the segment is being heard for good."""
        self._over = True

    def _whole_words(self) -> int:
        """Return how many tokens are agreed on, up to the last that begins a word."""
        whole = 0
        for at, (since, times) in enumerate(self._agreed):
            if times < HYPOTHESES or self._samples - since < AGREED:
                break
            if at and self._begins_word(self._longest[at]):
                whole = at
        return whole
