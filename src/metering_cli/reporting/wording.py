"""Words as the report shows them: one vocabulary for the terminal, the page and the files."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from metering_cli.wording import printable
from metering_handlers.contract.queries import EPOCH, RecordStatus

if TYPE_CHECKING:
    from collections.abc import Iterable

LABELS = {RecordStatus.METERED: "Billed", RecordStatus.PENDING: "Pending", RecordStatus.FAILED: "Not billed"}
"""The report's word for each status of the API, in the order of display."""
NO_NAME = "(no name)"
"""Stands for a dimension that is not text, in a record made by hand."""
_MAX_LISTED = 20


def duration(age: timedelta) -> str:
    """Format a duration, such as ``2 d 3 h``."""
    minutes = age // timedelta(minutes=1)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def time_of(milliseconds: int | None) -> str:
    """Format a time in ms since 1970 as ISO 8601 in UTC; empty for None."""
    if milliseconds is None:
        return ""
    instant = EPOCH + timedelta(milliseconds=milliseconds)
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def listed(lines: Iterable[str]) -> str:
    """Join lines, indented, each on a line of its own; after the first ones, only the number is given."""
    all_lines = list(lines)
    further = len(all_lines) - _MAX_LISTED
    shown = all_lines[:_MAX_LISTED] + ([f"and {further:,} more"] if further > 0 else [])
    return "".join(f"\n  {printable(line)}" for line in shown)
