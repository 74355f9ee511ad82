"""The report as a self-contained HTML page: ``page.html`` is its template, ``page.js`` its filter box."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections import Counter, defaultdict
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from metering_cli.reporting.failures import OPEN_STATES, State
from metering_cli.reporting.reasons import reason_of
from metering_cli.reporting.wording import LABELS, NO_NAME, time_of
from metering_cli.wording import counted, printable

if TYPE_CHECKING:
    from datetime import date, datetime

    from metering_cli.reporting.failures import Failure
    from metering_cli.reporting.findings import Findings
    from metering_cli.reporting.report import Days, Report, Totals
    from metering_handlers.contract.queries import RecordStatus

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
_SCRIPT_HASH = b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
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
}


class Why(NamedTuple):
    """Failures of one dimension of a customer, for one reason and in one state; the times are ISO 8601."""

    reason: str
    state: State
    quantity: int
    failures: int
    first: str
    last: str


class Customer(NamedTuple):
    """One customer on the page: sums, and why usage was not billed, by dimension."""

    name: str
    usage: list[tuple[str | None, Totals, list[Why]]]
    risks: list[str]


class Chart(NamedTuple):
    """Quantities of a dimension by day."""

    dimension: str | None
    bars: dict[RecordStatus, str]
    """An SVG path for each status."""
    highest: int
    highest_day: date


def render_page(report: Report, findings: Findings, subtitle: str, now: datetime) -> str:
    """Render the page; the charts end no later than ``now``."""
    attention, others = _customers(report, findings)
    left = MAX_ROWS
    shown: list[Customer] = []
    for customer in attention + others:
        left -= 1 + sum(1 + len(why) for _, _, why in customer.usage)
        if left < 0:
            break
        shown.append(customer)
    days = [day for of_dimension in report.days.values() for day in of_dimension if day <= now.date()]
    last = max(days, default=now.date())
    first = max(min(days, default=last), last - timedelta(days=MAX_DAYS - 1))
    unsettled: Counter[str | None] = Counter()
    for failure in findings.unsettled:
        unsettled[failure.dimension] += failure.amount
    reasons: defaultdict[str, Counter[State]] = defaultdict(Counter)
    for failure in report.failures:
        reasons[failure.reason][failure.state] += 1
    return _ENVIRONMENT.get_template("page.html").render(
        subtitle=subtitle,
        problems=findings.problems(),
        one_buyer=findings.one_buyer,
        labels=LABELS,
        dimensions=report.by_dimension(),
        unsettled=unsettled,
        charts=_charts(report, first, last),
        first=first,
        last=last,
        width=_WIDTH,
        height=_HEIGHT,
        attention=shown[: len(attention)],
        others=shown[len(attention) :],
        left_out=len(attention) + len(others) - len(shown),
        reasons=[(reason, reason_of(reason), counts) for reason, counts in sorted(reasons.items())],
        script=_SCRIPT,
        script_hash=_SCRIPT_HASH,
    )


def _customers(report: Report, findings: Findings) -> tuple[list[Customer], list[Customer]]:
    """Return the customers that somebody has to look at, with details, and the others."""
    failures: defaultdict[tuple[str, str | None], list[Failure]] = defaultdict(list)
    for failure in report.failures:
        failures[failure.customer, failure.dimension].append(failure)
    attention: list[Customer] = []
    others: list[Customer] = []
    for name, by_dimension in findings.totals(report):
        has_details = name in findings.customers
        usage = [
            (dimension, sums, _why(failures[name, dimension]) if has_details else [])
            for dimension, sums in by_dimension
        ]
        customer = Customer(name, usage, findings.risks.get(name, []))
        (attention if has_details else others).append(customer)
    # Usage that waits may be of another time than the range.
    named = {customer.name for customer in attention}
    attention += [Customer(name, [], risks) for name, risks in findings.risks.items() if name not in named]
    return attention, others


def _why(failures: list[Failure]) -> list[Why]:
    groups: defaultdict[tuple[str, State], list[Failure]] = defaultdict(list)
    for failure in failures:
        if failure.state is not State.NOTHING:
            groups[failure.reason, failure.state].append(failure)
    found = []
    for (reason, state), group in sorted(groups.items(), key=lambda row: row[0][1] not in OPEN_STATES):
        times = [time_of(one.recorded_at) for one in group]
        amount = sum(one.amount for one in group)
        found.append(Why(reason, state, amount, len(group), min(times), max(times)))
    return found


def _charts(report: Report, first: date, last: date) -> list[Chart]:
    charts: list[Chart] = []
    for dimension in report.by_dimension():
        days = {day: sums for day, sums in report.days[dimension].items() if first <= day <= last}
        if days and len(charts) < MAX_CHARTS:
            charts.append(_chart(dimension, days, first, last))
    return charts


def _chart(dimension: str | None, days: Days, first: date, last: date) -> Chart:
    """Draw a bar for each day, with its statuses on top of each other."""
    # A quantity in a record made by hand may be negative.
    highest, highest_day = max((sum(max(one, 0) for one in sums.values()), day) for day, sums in days.items())
    slot = min(_WIDTH / ((last - first).days + 1), 24)
    bars = dict.fromkeys(LABELS, "")
    for day, quantities in sorted(days.items()):
        left = slot * (day - first).days
        floor = float(_HEIGHT)
        for status in LABELS:
            if quantities[status] > 0:
                bar = max((_HEIGHT - 2 * _MIN_BAR) * quantities[status] / highest, _MIN_BAR)
                bars[status] += f"M{left:.1f} {floor:.1f}h{slot * 0.8:.1f}v-{bar:.1f}h-{slot * 0.8:.1f}z"
                floor -= bar
    return Chart(dimension, bars, highest, highest_day)
