"""Where results are published: ``results.json``, its chart, and the numbers in ``docs/performance.md``."""

import json
import re
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

Result = dict[str, Any]

RESULTS = Path(__file__).with_name("results.json")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"

ROW = re.compile(r"^(\| `([\w.]+)` \|.*\| )[\d.]+( \| ([^|]+?) \|)$", re.MULTILINE)
"""A result: its groups 2 and 4 are its key and its target, none or a maximum (≤) or a minimum (≥)."""
_SCENARIO = re.compile(r"^\| (\d+) \| ([\d,]+) \| [\d.]+ s \|.*$", re.MULTILINE)
_DAY = re.compile(r"\d+ \w+ \d{4}(?=\.)")


def publish(results: Mapping[str, Result]) -> None:
    """Write the results, the page's numbers and the chart."""
    RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    page = updated(PAGE.read_text(encoding="utf-8"), results)
    PAGE.write_text(page, encoding="utf-8")
    _draw(results, {key: target for _, key, _, target in ROW.findall(page) if target != "none"})


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


def _draw(results: Mapping[str, Result], targets: Mapping[str, str]) -> None:
    """Draw the ratios with their quartiles, each as a share of its target."""
    figure = Figure(figsize=(9, 0.45 * len(targets) + 1.2), layout="constrained", facecolor="white")
    axes = figure.subplots()
    for row, (key, wanted) in enumerate(reversed(list(targets.items()))):
        ratio, low, high = (results[key][name] for name in ("ratio", "low", "high"))
        target = float(wanted[1:])
        share = ratio / target
        reached = share <= 1 if wanted[0] == "≤" else share >= 1
        whiskers = [[max(0, share - low / target)], [max(0, high / target - share)]]
        axes.barh(key, share, height=0.6, color="#3b7a57" if reached else "#b5493b", xerr=whiskers, capsize=3)
        label = f"{ratio:.2f}   (target {wanted})"
        axes.text(max(share, high / target, 1) + 0.03, row, label, va="center")
    axes.axvline(1, color="black", linestyle=":", linewidth=2)
    axes.set_xlim(0, 1.35 * max(results[key]["high"] / float(targets[key][1:]) for key in targets))
    axes.set_xlabel("ratio as a share of its target, which is dotted; whiskers: quartiles")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(RESULTS.with_suffix(".svg"), metadata={"Date": None})
