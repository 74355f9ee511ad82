"""Chart of the results: each ratio with its mark, the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MARKS = {
    "peer.insert_one.wall": (0.45, "≤"),
    "peer.insert_one.cpu": (0.5, "≤"),
    "peer.insert_many": (0.3, "≤"),
    "peer.cold_start": (0.8, "≤"),
    "cold_start.insert_one": (1.35, "≤"),
    "cold_start.insert_many": (1.35, "≤"),
    "cold_start.list": (1.35, "≤"),
    "warm.insert_one": (1.15, "≤"),
    "bulk.vs_batch_writer": (3.0, "≥"),
    "bulk.vs_ceiling": (0.85, "≥"),
    "bulk.growth": (1.05, "≤"),
    "list.page": (1.3, "≤"),
    "list.totals": (1.2, "≤"),
    "list.depth": (1.05, "≤"),
    "limit.goodput": (0.95, "≥"),
    "package.size": (0.8, "≤"),
}
"""Target of each ratio, and whether it is a maximum or a minimum."""


def draw(results: Mapping[str, Mapping[str, float | str]], path: Path) -> None:
    """Draw the ratios with their quartiles, and the marks.

    Parameters
    ----------
    results : Mapping
        By key: ratio, low and high.
    path : Path
        The SVG file to write.
    """
    keys = [key for key in reversed(MARKS) if key in results]
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(keys) + 1.2), layout="constrained")
    figure.patch.set_facecolor("white")
    for row, key in enumerate(keys):
        ratio, low, high = (float(results[key][name]) for name in ("ratio", "low", "high"))
        mark, side = MARKS[key]
        reached = ratio <= mark if side == "≤" else ratio >= mark
        axes.barh(row, ratio, height=0.6, color="#3b7a57" if reached else "#b5493b")
        axes.errorbar(
            ratio, row, xerr=[[max(0, ratio - low)], [max(0, high - ratio)]], color="black", capsize=3
        )
        axes.plot([mark, mark], [row - 0.42, row + 0.42], color="black", linestyle=":", linewidth=2)
        axes.text(max(ratio, high, mark) + 0.06, row, f"{ratio:.2f}   (mark {side} {mark:g})", va="center")
    axes.set_yticks(range(len(keys)), keys)
    axes.set_xlim(0, 1.35 * max(max(float(results[key]["ratio"]), MARKS[key][0]) for key in keys))
    axes.set_xlabel("ratio to the reference; dotted: the mark; whiskers: quartiles")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
