"""Chart of the results: each ratio with its mark, the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
    "warm.over_powertools": (1.15, "≤"),
    "bulk.entries": (20.0, "≥"),
    "bulk.with_ids": (4.0, "≥"),
    "bulk.vs_batch_writer": (3.0, "≥"),
    "bulk.growth": (1.05, "≤"),
    "bulk.memory": (1.0, "≤"),
    "list.page": (1.3, "≤"),
    "list.totals": (1.2, "≤"),
    "list.depth": (1.05, "≤"),
    "package.size": (0.8, "≤"),
    "limit.entries": (1.0, "≤"),
    "limit.goodput": (0.95, "≥"),
}
"""Target of each ratio, and whether it is a maximum or a minimum."""


def draw(results: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the ratios with their quartiles, each as a share of its mark."""
    keys = [key for key in reversed(MARKS) if key in results]
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(keys) + 1.2), layout="constrained")
    figure.patch.set_facecolor("white")
    for row, key in enumerate(keys):
        mark, side = MARKS[key]
        ratio = float(results[key]["ratio"])
        share, low, high = (float(results[key][name]) / mark for name in ("ratio", "low", "high"))
        reached = share <= 1 if side == "≤" else share >= 1
        axes.barh(row, share, height=0.6, color="#3b7a57" if reached else "#b5493b")
        axes.errorbar(
            share, row, xerr=[[max(0, share - low)], [max(0, high - share)]], color="black", capsize=3
        )
        axes.text(max(share, high, 1) + 0.03, row, f"{ratio:.2f}   (mark {side} {mark:g})", va="center")
    axes.axvline(1, color="black", linestyle=":", linewidth=2)
    axes.set_yticks(range(len(keys)), keys)
    axes.set_xlim(0, 1.35 * max(float(results[key]["high"]) / MARKS[key][0] for key in keys))
    axes.set_xlabel("ratio as a share of its mark, which is dotted; whiskers: quartiles")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
