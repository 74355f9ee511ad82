"""The report as a self-contained HTML page: ``page.html`` is its template, ``page.js`` its filter box."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter, defaultdict
from datetime import date, datetime, timedelta
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from metering_cli.reporting.failures import OPEN_STATES, Failure, State
from metering_cli.reporting.findings import Findings
from metering_cli.reporting.reasons import reason_of
from metering_cli.reporting.report import LABELS, NO_NAME, Report, time_of
from metering_cli.wording import counted, printable

Groups = dict[tuple[str, State], list[Failure]]
"""Failures by reason and state."""

MAX_ROWS = 4_000
"""Rows of customers on the page, below 1 MB; the rest is in the file of totals."""
MAX_CHARTS = 12
MAX_DAYS = 92
"""Days in a chart, up to the last one with usage; more would be too narrow to read."""
_WIDTH, _HEIGHT = 368, 72
"""Of a chart, in SVG user units."""
_MIN_BAR = 2.0
"""Height of the lowest bar, so that a single failure among millions is visible."""

_FOLDER = Path(__file__).parent
_SCRIPT = Markup((_FOLDER / "page.js").read_text(encoding="utf-8"))  # noqa: S704 - the project's own
_ENVIRONMENT = Environment(
    loader=FileSystemLoader(_FOLDER),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    # A long number may wrap after a comma, and nowhere else.
    "number": lambda number: Markup(f"{number:,}".replace(",", ",<wbr>")),  # noqa: S704 - only digits
    "shown": lambda name: printable(NO_NAME if name is None else name),
    "counted": counted,
    "meaning": reason_of,
    "time": time_of,
}
_ENVIRONMENT.globals |= {
    "labels": LABELS,
    "width": _WIDTH,
    "height": _HEIGHT,
    "script": _SCRIPT,
    "script_hash": b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode(),
}


class Chart(NamedTuple):
    """Quantities of a dimension by day."""

    dimension: str | None
    bars: dict[str, str]
    """An SVG path for each status."""
    highest: int
    highest_day: date


def render_page(report: Report, findings: Findings, subtitle: str, now: datetime) -> str:
    """Render the page; the charts end no later than ``now``."""
    customers = {name: sums.rows() for name, sums in sorted(report.by_customer.items())}
    # Usage that waits may be of another time than the range.
    customers |= {name: [] for name in findings.risks if name not in customers}
    # Those to look at come first.
    names = sorted(customers, key=lambda name: name not in findings.customers)
    why = _why(report, findings)
    rows = accumulate(
        1 + sum(1 + len(why[name, row["dimension"]]) for row in customers[name]) for name in names
    )
    shown = [name for name, count in zip(names, rows, strict=True) if count <= MAX_ROWS]
    unsettled: Counter[str | None] = Counter()
    for failure in findings.unsettled:
        unsettled[failure.dimension] += failure.amount
    days = [day for of_dimension in report.days.values() for day in of_dimension if day <= now.date()]
    last = max(days, default=now.date())
    first = max(min(days, default=last), last - timedelta(days=MAX_DAYS - 1))
    return _ENVIRONMENT.get_template("page.html").render(
        subtitle=subtitle,
        findings=findings,
        failures=report.failures,
        dimensions=report.overall.rows(),
        unsettled=unsettled,
        charts=_charts(report, first, last),
        first=first,
        last=last,
        customers=customers,
        shown=shown,
        why=why,
        left_out=len(customers) - len(shown),
    )


def _why(report: Report, findings: Findings) -> defaultdict[tuple[str, str | None], Groups]:
    """Return the details of those customers that somebody has to look at; what is open comes first."""
    why: defaultdict[tuple[str, str | None], Groups] = defaultdict(dict)
    for failure in sorted(report.failures, key=lambda failure: failure.state not in OPEN_STATES):
        if failure.customer in findings.customers and failure.state is not State.NOTHING:
            groups = why[failure.customer, failure.dimension]
            groups.setdefault((failure.reason, failure.state), []).append(failure)
    return why


def _charts(report: Report, first: date, last: date) -> list[Chart]:
    """Draw a bar for each day, with its statuses on top of each other."""
    charts: list[Chart] = []
    slot = min(_WIDTH / ((last - first).days + 1), 24)
    for dimension in (row["dimension"] for row in report.overall.rows()):
        days = {day: sums for day, sums in report.days[dimension].items() if first <= day <= last}
        if not days or len(charts) == MAX_CHARTS:
            continue
        # A quantity in a record made by hand may be negative.
        highest, highest_day = max(
            (sum(max(one, 0) for one in sums.values()), day) for day, sums in days.items()
        )
        bars = dict.fromkeys(map(str, LABELS), "")
        for day, quantities in sorted(days.items()):
            left = slot * (day - first).days
            floor = float(_HEIGHT)
            for status in bars:
                if quantities[status] > 0:
                    bar = max((_HEIGHT - 2 * _MIN_BAR) * quantities[status] / highest, _MIN_BAR)
                    bars[status] += f"M{left:.1f} {floor:.1f}h{slot * 0.8:.1f}v-{bar:.1f}h-{slot * 0.8:.1f}z"
                    floor -= bar
        charts.append(Chart(dimension, bars, highest, highest_day))
    return charts
