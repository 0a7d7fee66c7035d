"""What a bench says: percentiles, targets met or missed, and the machine it ran on."""

from __future__ import annotations

import math
import os
import platform
import re
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Literal

import msgspec

from bench.yardstick import NOISY_STATUS, TOLERANCE

ROOT = Path(__file__).parents[1]
ANSWERED = 0.9  # the share of a row's turns that a figure must rest on
PACKAGES = ("riposte-server", "aiohttp", "msgspec", "numpy", "onnxruntime", "uvloop")
BESIDE = (
    "fastapi",
    "uvicorn",
    "picows",
    "transformers",
    "torch",
    "ctranslate2",
    "faster-whisper",
    "xllamacpp",
)


class Spread(msgspec.Struct, frozen=True):
    """Figures of `n` turns in the unit of their row, each a value that really occurred."""

    n: int
    p50: float
    p95: float
    p99: float
    max: float


class Share(msgspec.Struct, frozen=True):
    """How many of `n` trials, or of `n` words, went a certain way; less is better."""

    count: int
    n: int

    @property
    def percent(self) -> float:
        """Return the share of all, 0 where there were none."""
        return round(100 * self.count / self.n, 2) if self.n else 0.0


class Target(msgspec.Struct, frozen=True):
    """What a figure, or a share in per cent, must not exceed on a quiet machine."""

    figure: str
    stat: Literal["p50", "p95", "max", "share"]
    at_most: float


class Row(msgspec.Struct, frozen=True):
    """One thing measured at one load."""

    name: str
    sessions: int
    turns: int
    figures: dict[str, Spread]
    noise: float  # how far the yardstick was off beside it
    targets: tuple[Target, ...] = ()
    counts: dict[str, int] = {}  # what went otherwise than a plain turn: errors, no words, no sound
    unit: str = "ms"  # less is better in every unit
    shares: dict[str, Share] = {}

    @property
    def noisy(self) -> bool:
        """Whether the machine was too busy for the figures to mean anything."""
        return self.noise > TOLERANCE


class CaseReport(msgspec.Struct, frozen=True):
    """What one case found: the last line of its stdout."""

    case: str
    rows: tuple[Row, ...]
    start: dict[str, float] = {}  # cold start, milliseconds; part of no row
    notes: tuple[str, ...] = ()
    missing: dict[str, str] = {}  # what it would have been compared with → how to install that


class Machine(msgspec.Struct, frozen=True):
    """Where and with what it was measured."""

    cpu: str
    cores: int
    memory_gib: float
    system: str
    python: str
    packages: dict[str, str]
    commit: str
    profile: str
    date: str


class Report(msgspec.Struct, frozen=True):
    """A whole run, as it is kept in bench/results/."""

    machine: Machine
    turns: int
    cases: tuple[CaseReport, ...]
    failed: tuple[str, ...] = ()  # cases that ended without a report
    command: str = ""


def spread(values: Sequence[float]) -> Spread:
    """Return the percentiles by nearest rank: nothing is interpolated. Raises ValueError without values."""
    if not values:
        raise ValueError("no values to take percentiles of")
    ordered = sorted(values)

    def rank(share: float) -> float:
        return round(ordered[math.ceil(share * len(ordered)) - 1], 2)

    return Spread(len(ordered), rank(0.50), rank(0.95), rank(0.99), rank(1.0))


def verdict(row: Row, target: Target) -> Literal["met", "missed", "not measured: noisy", "not measured"]:
    """Say whether a row met one of its targets; "not measured" when too few of its turns have the figure."""
    figure = (row.shares if target.stat == "share" else row.figures).get(target.figure)
    # A server that answers the easy half alone must not look fast.
    if figure is None or figure.n < ANSWERED * row.turns:
        return "not measured"
    if row.noisy:
        return "not measured: noisy"
    found = figure.percent if isinstance(figure, Share) else getattr(figure, target.stat)
    return "met" if found <= target.at_most else "missed"


def exit_status(report: Report) -> int:
    """0: every target met. 1: one missed, or a case broke. 75: the machine was too noisy to tell."""
    verdicts = [verdict(row, target) for case in report.cases for row in case.rows for target in row.targets]
    if report.failed or any(each in ("missed", "not measured") for each in verdicts):
        return 1
    return NOISY_STATUS if "not measured: noisy" in verdicts else 0


def table(report: Report) -> str:
    """Return the report as Markdown, for a terminal and for the README."""
    card = report.machine
    lines = [
        f"{card.cpu}, {card.cores} cores, {card.memory_gib:g} GiB, {card.system}; Python {card.python}; "
        f"profile {card.profile}, commit {card.commit}, {card.date}",
        "",
    ]
    for case in report.cases:
        if case.start:
            lines += ["; ".join(f"{name} {ms:.0f} ms" for name, ms in case.start.items()), ""]
        lines.append("| what (ms) | sessions | n | p50 | p95 | p99 | max | |")
        lines.append("| --- |" + " ---: |" * 6 + " --- |")
        for row in case.rows:
            for name, figure in row.figures.items():
                cells = (figure.p50, figure.p95, figure.p99, figure.max)
                what = f"{row.name} {name}" if row.unit == "ms" else f"{row.name} {name} ({row.unit})"
                lines.append(
                    f"| {what} | {row.sessions} | {figure.n} | "
                    + " | ".join(_digits(value) for value in cells)
                    + f" | {_judged(row, name)} |"
                )
        lines.append("")
        lines += _shares(case)
        for row in case.rows:
            if any(row.counts.values()):
                odd = ", ".join(f"{count} {name}" for name, count in row.counts.items() if count)
                lines.append(f"- {row.name}, {row.sessions} sessions, {row.turns} turns: {odd}")
        lines += [f"- {note}" for note in case.notes]
        lines += [f"- beside {name}: not installed: {how}" for name, how in case.missing.items()]
        lines.append("")
    lines += [f"**{name} broke: no figures.**" for name in report.failed]
    return "\n".join(lines)


def _shares(case: CaseReport) -> list[str]:
    rows = [(row, name, share) for row in case.rows for name, share in row.shares.items()]
    if not rows:
        return []
    lines = ["| share | sessions | n | of them | % | |", "| --- |" + " ---: |" * 4 + " --- |"]
    for row, name, share in rows:
        cells = f"{row.sessions} | {share.n} | {share.count} | {share.percent:.1f}"
        lines.append(f"| {row.name} {name} | {cells} | {_judged(row, name)} |")
    return [*lines, ""]


def _judged(row: Row, name: str) -> str:
    said = [
        f"{target.stat} ≤ {target.at_most:g}: {verdict(row, target)}"
        for target in row.targets
        if target.figure == name
    ]
    return "; ".join(said) or ("noisy" if row.noisy else "")


def _digits(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def machine(profile: str) -> Machine:
    """Describe this machine. Nothing in it names a person, a folder or a network."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu(),
        cores=os.cpu_count() or 1,
        memory_gib=round(pages * page_bytes / (1 << 30), 1),
        system=f"{platform.system()} {platform.release().split('-')[0]}",
        python=platform.python_version(),
        packages={name: metadata.version(name) for name in (*PACKAGES, *filter(_installed, BESIDE))},
        commit=_commit(),
        profile=profile,
        date=datetime.now(UTC).strftime("%Y-%m-%d"),
    )


def file_stem(card: Machine) -> str:
    """Return what a result's file is called: its date and its machine."""
    cpu = re.sub(r"\(.*?\)|@.*|\b(cpu|processor)\b", "", card.cpu, flags=re.IGNORECASE)
    slug = re.sub(r"[^a-z0-9]+", "-", cpu.lower()).strip("-")
    return f"{card.date}-{card.profile}-{slug or 'cpu'}-{card.cores}-cores"


def _installed(name: str) -> bool:
    try:
        metadata.version(name)
    except metadata.PackageNotFoundError:
        return False
    return True


def _cpu() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def _commit() -> str:
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
        return done.stdout.strip()

    commit = git("rev-parse", "--short", "HEAD") or "unknown"
    return f"{commit} with changes" if git("status", "--porcelain", "--untracked-files=no") else commit
