"""Soak a real server, and say whether it stays the same size.

    python -m bench.soak [--minutes 20] [--seed N] [--profile fake --profile pico] [--keep]

The time is shared out among the profiles. Exit status: 0 flat and no promise broken, 1 something grew or
broke; the last lines say what.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
from pathlib import Path

import msgspec

from bench.report import ROOT, Machine, file_stem, machine
from bench.soak.run import Soaked, soak

RESULTS = ROOT / "bench" / "results"


class Result(msgspec.Struct, frozen=True):
    """A whole soak, as it is kept."""

    machine: Machine
    seed: int
    soaked: tuple[Soaked, ...]


def main(argv: list[str] | None = None) -> int:
    """Soak, print, keep."""
    parser = argparse.ArgumentParser(prog="python -m bench.soak", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=20.0, help="all in all (20)")
    parser.add_argument("--seed", type=int, default=None, help="what the order of things depends on")
    parser.add_argument("--profile", action="append", help="what is soaked; may be repeated (fake, pico)")
    parser.add_argument("--keep", action="store_true", help="keep the result in bench/results")
    options = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    profiles = options.profile or ["fake", "pico"]
    print(f"seed {seed}", flush=True)
    share = options.minutes / len(profiles)
    soaked = tuple(asyncio.run(soak(profile, share, seed)) for profile in profiles)
    result = Result(machine("+".join(profiles)), seed, soaked)
    for each in soaked:
        print(summary(each))
    if options.keep:
        keep(result)
    return 1 if any(each.failures for each in soaked) else 0


def summary(soaked: Soaked) -> str:
    """Return what a person wants to know of it."""
    memory = soaked.rss_mib
    turns = sum(count for name, count in soaked.done.items() if name.startswith("turn "))
    return "\n".join(
        [
            f"{soaked.profile}: {turns} turns of {soaked.talkers} clients in {soaked.minutes:g} minutes, "
            f"{soaked.helper_kills} kills of the helper",
            "  " + ", ".join(f"{name} {count}" for name, count in soaked.done.items()),
            f"  memory {memory.first:g} MiB, then {memory.last:g}, {memory.most:g} at most, "
            f"{memory.slope_per_minute:+g} MiB a minute; file descriptors at rest {soaked.fds_before}, "
            f"then {soaked.fds_after}; threads {soaked.threads.last:g}",
            *(f"  FAILED: {failure}" for failure in soaked.failures),
        ]
    )


def keep(result: Result) -> None:
    """Write the result, about sixty samples of each, and its picture; a second one of the day replaces it."""
    from bench.soak.picture import draw  # matplotlib is an extra, and slow

    thin = tuple(
        msgspec.structs.replace(each, samples=each.samples[:: max(1, len(each.samples) // 60)])
        for each in result.soaked
    )
    path: Path = RESULTS / f"{file_stem(result.machine)}-soak.json"
    content = msgspec.json.encode(msgspec.structs.replace(result, soaked=thin))
    path.write_bytes(msgspec.json.format(content, indent=1) + b"\n")
    draw(result.machine, thin, path.with_suffix(".svg"))
    print(f"kept in {path.relative_to(ROOT)}")


if __name__ == "__main__":
    sys.exit(main())
