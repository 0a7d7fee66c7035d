"""How many turns a minute. Pure: time is given."""

from __future__ import annotations

import math
from collections import deque

from riposte.errors import RateLimited


class Rate:
    """No more than so many in any minute."""

    def __init__(self, per_minute: int) -> None:
        self._times: deque[float] = deque(maxlen=per_minute)

    def check(self, now: float) -> None:
        """Raise RateLimited, which says when to try again, if one more would be too many."""
        if len(self._times) == self._times.maxlen and now - self._times[0] < 60:
            wait_s = 60 - (now - self._times[0])
            sentence = f"more than {self._times.maxlen} turns a minute; try in {wait_s:.0f} s"
            raise RateLimited(sentence, math.ceil(wait_s))

    def count(self, now: float) -> None:
        """Note one."""
        self._times.append(now)
