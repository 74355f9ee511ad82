"""The numbers of ``docs/performance.md``, which come from the last results."""

from __future__ import annotations

import re
from datetime import date
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

ROW = re.compile(r"^(\| `([\w.]+)` \|.*\| )[\d.]+( \| ([^|]+?) \|)$", re.MULTILINE)
"""A result: its groups 2 and 4 are its key and its mark."""
_SCENARIO = re.compile(r"^\| (\d+) \| ([\d,]+) \| [\d.]+ s \|.*$", re.MULTILINE)
_DAY = re.compile(r"\d+ \w+ \d{4}(?=\.)")


def updated(page: str, results: Mapping[str, Mapping[str, Any]]) -> str:
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
