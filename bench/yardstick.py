"""Is this machine quiet? A short fixed piece of work says so, before and after everything that is measured.

Two threads hash (hashlib lets go of the GIL). On a quiet machine the time that passes is the processor
time they use; beside other work it is more, and a slower clock shows against the run's own best. Timing
one thread would miss a neighbour that keeps one of two cores.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import msgspec

TOLERANCE = 0.30  # off by more: what was measured beside it is neither a pass nor a fail
NOISY_STATUS = 75  # EX_TEMPFAIL: try again on a quiet machine

_THREADS = min(2, os.cpu_count() or 1)
_REPEATS = 40
_BLOCK = bytes(8 << 20)


class Sample(msgspec.Struct, frozen=True):
    """One look at the machine: milliseconds for the fixed work."""

    wall_ms: float  # median
    cpu_ms: float  # best


class Yardstick:
    """Measures the machine again and again, and compares with the best it has seen."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def measure(self) -> Sample:
        """Do the fixed work, which takes a fifth of a second on a quiet recent machine."""
        with ThreadPoolExecutor(_THREADS) as pool:
            pairs = [pair for each in pool.map(_work, range(_THREADS)) for pair in each]
        walls, cpus = zip(*pairs, strict=True)
        sample = Sample(statistics.median(walls), min(cpus))
        self.samples.append(sample)
        return sample

    @property
    def reference_ms(self) -> float:
        """The least processor time that the work ever took in this run."""
        return min(sample.cpu_ms for sample in self.samples)

    def off(self, *samples: Sample) -> float:
        """Return by how much the worst of the samples was off, as a share: 0.3 is 30 %."""
        return max(sample.wall_ms for sample in samples) / self.reference_ms - 1


def _work(_: int) -> list[tuple[float, float]]:
    pairs = []
    for _ in range(_REPEATS):
        wall, cpu = time.perf_counter(), time.thread_time()
        hashlib.sha256(_BLOCK).digest()
        pairs.append(((time.perf_counter() - wall) * 1000, (time.thread_time() - cpu) * 1000))
    return pairs
