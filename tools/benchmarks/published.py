"""Where results are published: ``results.json``, its chart, and the numbers in ``docs/performance.md``."""

from __future__ import annotations

import json
import re
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
from collections.abc import Mapping

import matplotlib.pyplot as plt

Result = dict[str, Any]

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
_PICTURE = Path(__file__).with_name("results.svg")

ROW = re.compile(r"^(\| `([\w.]+)` \|.*\| )[\d.]+( \| ([^|]+?) \|)$", re.MULTILINE)
"""A result: its groups 2 and 4 are its key and its target."""
_SCENARIO = re.compile(r"^\| (\d+) \| ([\d,]+) \| [\d.]+ s \|.*$", re.MULTILINE)
_DAY = re.compile(r"\d+ \w+ \d{4}(?=\.)")


def targets(page: str) -> dict[str, tuple[str, float]]:
    """Return each ratio's target, as the page has it, and whether it is a maximum (≤) or a minimum (≥)."""
    return {
        key: (target[0], float(target[1:])) for _, key, _, target in ROW.findall(page) if target != "none"
    }


def publish(results: Mapping[str, Result]) -> None:
    """Write the results, the page's numbers and the chart."""
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    page = PAGE.read_text(encoding="utf-8")
    PAGE.write_text(updated(page, results), encoding="utf-8")
    _draw(results, targets(page))


def updated(page: str, results: Mapping[str, Result]) -> str:
    """Return the page with the numbers of the results."""
    day = date.fromisoformat(results["machine"]["date"])
    page = _DAY.sub(f"{day.day} {day:%B %Y}", page, count=1)
    page = ROW.sub(lambda row: f"{row[1]}{results[row[2]]['ratio']:.2f}{row[3]}", page)

    def scenario(row: re.Match[str]) -> str:
        outcome = results["limit.goodput"][f"{row[1]} x {row[2].replace(',', '')}"]
        return (
            f"| {row[1]} | {row[2]} | {outcome['seconds']:.1f} s | {outcome['records_per_second']:,.0f} "
            f"| {outcome['complete_at_first']:g} | {outcome['tries']:g} |"
        )

    return _SCENARIO.sub(scenario, page)


def _draw(results: Mapping[str, Result], wanted: Mapping[str, tuple[str, float]]) -> None:
    """Draw the ratios with their quartiles, each as a share of its target."""
    keys = list(wanted)[::-1]
    figure, axes = plt.subplots(figsize=(9, 0.45 * len(keys) + 1.2), layout="constrained")
    figure.patch.set_facecolor("white")
    for row, key in enumerate(keys):
        side, target = wanted[key]
        ratio = float(results[key]["ratio"])
        share, low, high = (float(results[key][name]) / target for name in ("ratio", "low", "high"))
        reached = share <= 1 if side == "≤" else share >= 1
        axes.barh(row, share, height=0.6, color="#3b7a57" if reached else "#b5493b")
        axes.errorbar(
            share, row, xerr=[[max(0, share - low)], [max(0, high - share)]], color="black", capsize=3
        )
        axes.text(max(share, high, 1) + 0.03, row, f"{ratio:.2f}   (target {side} {target:g})", va="center")
    axes.axvline(1, color="black", linestyle=":", linewidth=2)
    axes.set_yticks(range(len(keys)), keys)
    axes.set_xlim(0, 1.35 * max(float(results[key]["high"]) / wanted[key][1] for key in keys))
    axes.set_xlabel("ratio as a share of its target, which is dotted; whiskers: quartiles")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(_PICTURE, metadata={"Date": None})
    plt.close(figure)
