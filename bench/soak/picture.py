"""A soak as a small picture: memory over time, a line a profile."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl

from bench.report import Machine
from bench.soak.run import WARM_SHARE, Soaked

mpl.use("svg")  # no display, and no window library to look for
mpl.rcParams["svg.fonttype"] = "none"  # text stays text: smaller, and it can be searched
mpl.rcParams["svg.hashsalt"] = "riposte"  # the same figures give the same file


def draw(card: Machine, soaked: tuple[Soaked, ...], path: Path) -> None:
    """Write the picture as SVG."""
    from matplotlib import pyplot  # slow to import, and wanted only here

    figure, axes = pyplot.subplots(figsize=(7.2, 2.6), layout="constrained")
    for each in soaked:
        turns = sum(count for name, count in each.done.items() if name.startswith("turn "))
        minutes = [sample.at_s / 60 for sample in each.samples]
        label = f"{each.profile}: {turns:,} turns, {each.helper_kills} kills"
        (line,) = axes.plot(minutes, [sample.rss_mib for sample in each.samples], label=label)
        axes.axvline(minutes[-1] * WARM_SHARE, color=line.get_color(), linewidth=0.5, linestyle=":")
    axes.set_ylim(bottom=0)
    axes.set_xlim(left=0)
    axes.set_xlabel("minutes; what is right of the dotted line counts", fontsize=8)
    axes.set_ylabel("MiB in memory", fontsize=8)
    axes.legend(fontsize=8, frameon=False, loc="center right")
    axes.set_title(f"soaked on {card.cpu}, {card.cores} cores, commit {card.commit}", fontsize=9)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    pyplot.close(figure)
