"""The report as a small picture: a bar from p50 to p95, a line to the worst, a mark where the target is."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from bench.report import Report

mpl.use("svg")  # no display, and no window library to look for
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, and it can be searched
mpl.rcParams["svg.hashsalt"] = "riposte"  # the same figures give the same file

_SHOWN = ("first token", "first audio", "whole reply, client's watch", "first sound, client's watch")


def draw(report: Report, path: Path) -> None:
    """Write the picture as SVG."""
    from matplotlib import pyplot  # slow to import, and wanted only here

    bars = [
        (f"{row.name} {name.split(',')[0]}, {row.sessions}×", row.figures[name], row, name)
        for case in report.cases
        for row in case.rows
        for name in _SHOWN
        if name in row.figures
    ]
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
    card = report.machine
    axes.set_title(f"{card.profile} on {card.cpu}, {card.cores} cores, commit {card.commit}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
