"""Run the benches, each case in a process of its own, and keep what they found in bench/results/.

    python -m bench [--full] [--profile pico] [CASE …]

Without a CASE: all but llm and asr, which compare with other runtimes (make bench-compare).

Exit status: 0 every target met, 1 one missed or a case broke, 75 the machine was too noisy to tell.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.report import ROOT, CaseReport, Report, exit_status, file_stem, machine, table

DEFAULT = ("turn", "voice", "pauses", "barge_in", "http", "wire", "load")
CASES = (*DEFAULT, "llm", "asr")
TURNS, FULL_TURNS = 20, 200
CASE_S = 3600.0  # a hang, not a slow machine: the full run takes a third of it
RESULTS = ROOT / "bench" / "results"


def main() -> int:
    """Run what was asked for, print it, keep it."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.split("\n")[0])
    parser.add_argument("cases", nargs="*", metavar="CASE", help=f"which ones, of: {', '.join(CASES)}")
    parser.add_argument("--full", action="store_true", help=f"{FULL_TURNS} turns a row instead of {TURNS}")
    parser.add_argument("--turns", type=int, help="turns a row")
    parser.add_argument("--profile", default="pico", help='what is served; "fake": models that only pretend')
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the result (bench/results)")
    options = parser.parse_args()
    unknown = [name for name in options.cases if name not in CASES]
    if unknown:
        parser.error(f"no case called {', '.join(unknown)}; there are {', '.join(CASES)}")
    turns = options.turns or (FULL_TURNS if options.full else TURNS)
    found = {name: run_case(name, options.profile, turns) for name in options.cases or DEFAULT}
    report = Report(
        machine(options.profile),
        turns,
        tuple(case for case in found.values() if case is not None),
        tuple(name for name, case in found.items() if case is None),
        command=shlex.join(["python", "-m", "bench", *sys.argv[1:]]),
    )
    print(table(report))
    if report.cases and options.profile != "fake":
        keep(report, options.out, options.cases)
    return exit_status(report)


def run_case(name: str, profile: str, turns: int) -> CaseReport | None:
    """Run one case in a process of its own; None where it gave no report. A crash costs one case."""
    command = [sys.executable, "-m", f"bench.cases.{name}", "--profile", profile, "--turns", str(turns)]
    try:
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, timeout=CASE_S, check=False)
        if done.returncode != 0:
            return None
        return msgspec.json.decode(done.stdout.splitlines()[-1], type=CaseReport)
    except (subprocess.TimeoutExpired, msgspec.MsgspecError, IndexError) as exc:
        print(f"{name}: {exc}", file=sys.stderr)
        return None


def keep(report: Report, folder: Path, cases: Sequence[str]) -> None:
    """Write the result and its pictures; a second run of the same day and cases replaces the first."""
    from bench.picture import draw, draw_load, draw_pauses  # matplotlib is an extra, and slow

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{'-'.join([file_stem(report.machine), *cases])}.json"
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    draw(report, path.with_suffix(".svg"))
    draw_load(report, path.with_name(f"{path.stem}-sessions.svg"))
    draw_pauses(report, path.with_name(f"{path.stem}-pauses.svg"))
    print(f"kept in {path.relative_to(ROOT) if path.is_relative_to(ROOT) else path}")


if __name__ == "__main__":
    sys.exit(main())
