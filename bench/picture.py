"""The report as small pictures: a bar from p50 to p95, a line to the worst, a mark where the target is.

Two cases have a picture of their own: first audio against the number of sessions (load), and voice to voice
against pauses taken for an end, at every patience (pauses).
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import matplotlib as mpl

from bench.cases.barge_in import DUCK, STOP
from bench.cases.load import LIMITS_MS
from bench.cases.pauses import DEFAULT, TAKEN
from bench.cases.pauses import STOP as GONE_ON
from bench.cases.voice import VOICE_MS
from bench.exchange import WATCH
from bench.report import CaseReport, Report, Row

mpl.use("svg")  # no display, and no window library to look for
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, and it can be searched
mpl.rcParams["svg.hashsalt"] = "riposte"  # the same figures give the same file

_SHOWN = (
    "first token",
    "first audio",
    WATCH,
    "whole reply, client's watch",
    "first sound, client's watch",
    DUCK,
    STOP,
    GONE_ON,
)


def draw(report: Report, path: Path) -> None:
    """Write the bars of every case but load as SVG; nothing where there are none."""
    from matplotlib import pyplot  # slow to import, and wanted only here

    bars = [
        (f"{row.name} {name.split(',')[0]}, {row.sessions}×", row.figures[name], row, name)
        for case in report.cases
        if case.case != "load"
        for row in case.rows
        for name in _SHOWN
        if name in row.figures
    ]
    if not bars:
        return
    figure, axes = pyplot.subplots(figsize=(7.2, 0.32 * len(bars) + 1.1), layout="constrained")
    for place, (_, spread, row, name) in enumerate(reversed(bars)):
        colour = "0.7" if row.noisy else "tab:blue"
        axes.plot([spread.p50, spread.max], [place, place], color=colour, linewidth=1)
        axes.barh(place, spread.p95 - spread.p50, left=spread.p50, height=0.6, color=colour)
        for target in row.targets:
            if target.figure == name:
                axes.plot(target.at_most, place, marker="|", markersize=14, color="tab:red")
    axes.set_yticks(range(len(bars)), [label for label, *_ in reversed(bars)], fontsize=8)
    axes.set_xlim(left=0)
    legend = "ms: bar p50 to p95, line to the worst, red: the target; grey: too noisy to tell"
    axes.set_xlabel(legend, fontsize=8)
    _finish(figure, axes, report, path)


def draw_load(report: Report, path: Path) -> None:
    """Write p50 and p95 of first audio against the number of sessions; nothing where load was not run."""
    from matplotlib import pyplot

    load = next((case for case in report.cases if case.case == "load"), None)
    if load is None:
        return
    figure, axes = pyplot.subplots(figsize=(7.2, 3.2), layout="constrained")
    for clock, colour in (("text", "tab:blue"), ("end", "tab:orange")):
        sessions, p50, p95 = _curve(load, f"{clock} →")
        axes.plot(sessions, p95, marker="o", color=colour, label=f"{clock} → first audio, p95")
        axes.plot(sessions, p50, marker=".", color=colour, linestyle=":", label=f"{clock} → first audio, p50")
        axes.axhline(LIMITS_MS[clock], color=colour, linewidth=1, linestyle="--", alpha=0.5)
    axes.set_xlabel("sessions that type and speak at a time; dashed: the targets", fontsize=8)
    axes.set_ylabel("ms", fontsize=8)
    axes.set_ylim(bottom=0)
    axes.set_xticks(sorted({row.sessions for row in load.rows}))
    figure.legend(loc="outside right upper", fontsize=8, frameon=False)
    _finish(figure, axes, report, path)


def draw_pauses(report: Report, path: Path) -> None:
    """Write voice to voice against pauses taken for an end, a point for each patience; nothing for one."""
    from matplotlib import pyplot

    case = next((case for case in report.cases if case.case == "pauses"), None)
    waits = {} if case is None else _by_patience(case, "unpaused")
    if case is None or not waits:
        return
    figure, axes = pyplot.subplots(figsize=(7.2, 3.6), layout="constrained")
    for kind, colour in (("unfinished", "tab:red"), ("finished", "tab:blue")):
        taken = _by_patience(case, kind)
        points = [(taken[each].shares[TAKEN].percent, waits[each].figures[WATCH].p95, each) for each in waits]
        axes.plot(*zip(*[point[:2] for point in points], strict=True), marker="o", color=colour, label=kind)
        for share, p95, each in points:
            said = f"{each:g}{' (default)' if each == DEFAULT else ''}"
            axes.annotate(said, (share, p95), textcoords="offset points", xytext=(5, 4), fontsize=7)
    axes.axhline(VOICE_MS, color="0.6", linewidth=1, linestyle="--")
    axes.set_xlabel("% of pauses of 200 to 600 ms inside a sentence that were taken for its end", fontsize=8)
    axes.set_ylabel("ms, voice to voice, p95", fontsize=8)
    axes.set_xlim(left=-2)
    axes.set_ylim(bottom=0)
    figure.legend(loc="outside right upper", fontsize=8, frameon=False, title="place of the pause")
    _finish(figure, axes, report, path)


def _by_patience(case: CaseReport, kind: str) -> dict[float, Row]:
    named = re.compile(rf"{kind}, patience ([0-9.]+)")
    return {float(found[1]): row for row in case.rows if (found := named.match(row.name))}


def _curve(load: CaseReport, name: str) -> tuple[list[int], list[float], list[float]]:
    rows = [row for row in load.rows if row.name == name and "first audio" in row.figures]
    spreads = [row.figures["first audio"] for row in rows]
    return [row.sessions for row in rows], [each.p50 for each in spreads], [each.p95 for each in spreads]


def _finish(figure: Any, axes: Any, report: Report, path: Path) -> None:
    from matplotlib import pyplot

    card = report.machine
    axes.set_title(f"{card.profile} on {card.cpu}, {card.cores} cores, commit {card.commit}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
