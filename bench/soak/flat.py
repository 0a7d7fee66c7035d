"""Is a series flat? Robust against the odd spike: medians and a median of slopes, no means."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

_MOST = 400  # samples that slopes are taken between; their number grows with the square


class Trend(msgspec.Struct, frozen=True):
    """Where a series began and ended, by the medians of its first and last third, and its slope."""

    first: float
    last: float
    most: float
    slope_per_minute: float  # Theil and Sen's: the median of the slopes between all pairs

    def grew(self, allowed: float, minutes: float) -> bool:
        """Tell whether both measures say that it grew by more than this."""
        return self.last - self.first > allowed and self.slope_per_minute * minutes > allowed


def trend(at_s: Sequence[float], values: Sequence[float]) -> Trend:
    """Return the trend of a series in the order of its times. Raises ValueError for fewer than 6 samples."""
    if len(values) < 6:
        raise ValueError(f"{len(values)} samples are too few to tell a trend")
    times, series = np.asarray(at_s, float), np.asarray(values, float)
    third = len(series) // 3
    step = -(-len(series) // _MOST)
    thin_times, thin = times[::step], series[::step]
    earlier, later = np.triu_indices(len(thin), 1)
    slopes = (thin[later] - thin[earlier]) / (thin_times[later] - thin_times[earlier])
    return Trend(
        first=round(float(np.median(series[:third])), 3),
        last=round(float(np.median(series[-third:])), 3),
        most=round(float(series.max()), 3),
        slope_per_minute=round(60 * float(np.median(slopes)), 4),
    )
