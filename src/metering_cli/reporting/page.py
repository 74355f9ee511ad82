"""The report as a self-contained HTML page, with style and chart inline."""

from __future__ import annotations

import textwrap
from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from html import escape
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from metering_cli.reporting.failures import advice
from metering_handlers.contract.queries import EPOCH, RecordStatus
from metering_handlers.listing.totals import Total

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Mapping, Sequence

    from metering_cli.reporting.report import Report, Totals

LABELS = {RecordStatus.METERED: "Billed", RecordStatus.PENDING: "Pending", RecordStatus.FAILED: "Not billed"}
"""Label of each status, in the order of display."""
MAX_CHART_DAYS = 92
"""Days in the chart, up to the last one with usage; more would be too narrow to read."""

MAX_REASON_LENGTH = 60
"""Characters of a reason; AWS's are half as long."""

_TEMPLATE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))

# Dimensions of the chart, in SVG user units.
_WIDTH, _HEIGHT = 1072, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 70, 8, 34, 30
_GRID_LINES = 4
_DAY_LABELS = 12
_MIN_BAR_HEIGHT = 2.0
"""Minimum height of a bar, so that a single failure among millions is visible."""


def render_page(report: Report, subtitle: str, notice: str | None, now: datetime) -> str:
    """Render the page.

    Parameters
    ----------
    report : Report
        The report.
    subtitle : str
        Description of the table and range.
    notice : str or None
        What has to be done, if anything.
    now : datetime
        Time of the report; the chart ends no later.

    Returns
    -------
    str
        The HTML document.
    """
    return _TEMPLATE.substitute(
        subtitle=escape(subtitle),
        notice=f'<p class="notice">{escape(notice)}</p>' if notice else "",
        cards=_cards(report, now),
        chart=_chart(report.days, now.astimezone(UTC).date(), labels(report)),
        failures=_failures(report) if RecordStatus.FAILED in labels(report) else "",
        dimensions=_dimensions(report),
        totals=_totals(report),
    )


def labels(report: Report) -> Mapping[RecordStatus, str]:
    """Return the labels of the statuses that a report shows, in the order of display."""
    return LABELS if report.shown is None else {report.shown: LABELS[report.shown]}


def dimension_name(dimension: str | None) -> str:
    """Return the displayed name of a dimension."""
    return "(no name)" if dimension is None else dimension


def shown(quantity: int) -> str:
    """Format a number with thousands separators."""
    return f"{quantity:,}"


def duration(age: timedelta) -> str:
    """Format a duration, such as 2 d 3 h."""
    minutes = age // timedelta(minutes=1)
    days, hours, minutes = minutes // 1440, minutes // 60 % 24, minutes % 60
    if days:
        return f"{days} d {hours} h"
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"


def _cards(report: Report, now: datetime) -> str:
    counts = report.by_status()
    all_of_it = counts.total()
    age = report.oldest_pending_age(now)
    cards = []
    for status, label in labels(report).items():
        share = 100 * counts[status] / all_of_it if all_of_it else 0
        details = "usage entries" if report.shown else f"{share:.1f} % of all usage entries"
        if status is RecordStatus.PENDING and age is not None:
            details += f"; the oldest waits {duration(age)}"
        cards.append(
            f'<li class="{status}">{label}<b>{shown(counts[status])}</b>'
            f'<span class="muted">{escape(details)}</span></li>'
        )
    return "\n".join(cards)


def _chart(days: Mapping[date, Counter[RecordStatus]], today: date, drawn: Mapping[RecordStatus, str]) -> str:
    # A record made by hand may have any date; the chart must still have room for the others.
    drawable = [day for day in days if day <= today]
    if not drawable:
        return "<p>No usage was recorded in this range.</p>"
    last = max(drawable)
    first = max(min(drawable), last - timedelta(days=MAX_CHART_DAYS - 1))
    shown_days = [first + timedelta(days=number) for number in range((last - first).days + 1)]
    counts = [days.get(day) for day in shown_days]
    step = _grid_step(max(count.total() for count in counts if count))
    top = step * _GRID_LINES
    height = _HEIGHT - _TOP - _BOTTOM
    slot = (_WIDTH - _LEFT - _RIGHT) / len(shown_days)
    width = min(slot * 0.72, 60)
    parts = [*_legend(drawn), *_grid(step, height)]
    for number, (day, count) in enumerate(zip(shown_days, counts, strict=True)):
        middle = _LEFT + slot * (number + 0.5)
        if number % -(-len(shown_days) // _DAY_LABELS) == 0:
            parts.append(
                f'<text x="{middle:.1f}" y="{_HEIGHT - 10}" text-anchor="middle">{day:%b %-d}</text>'
            )
        floor = float(_TOP + height)
        for status, label in drawn.items():
            entries = count[status] if count else 0
            if entries:
                bar = max(height * entries / top, _MIN_BAR_HEIGHT)
                floor -= bar
                parts.append(
                    f'<rect class="bar-{status}" x="{middle - width / 2:.1f}" y="{floor:.1f}"'
                    f' width="{width:.1f}" height="{bar:.1f}">'
                    f"<title>{day}: {shown(entries)} {label.lower()}</title></rect>"
                )
    outside = sum(count.total() for day, count in days.items() if not first <= day <= last)
    caption = "Usage entries (a dimension of a record) by the day (UTC) they were recorded, and outcome."
    if outside:
        caption += f" {shown(outside)} of days before {first} or after {last} are not drawn."
    svg = "\n".join(parts)
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(caption)}">\n{svg}\n</svg>'
        f'\n<p class="muted">{escape(caption)}</p>'
    )


def _grid_step(highest: int) -> int:
    """Return the distance between grid lines: 1, 2 or 5 times a power of ten."""
    power = 1
    while True:
        for step in (power, 2 * power, 5 * power):
            if step * _GRID_LINES >= highest:
                return step
        power *= 10


def _legend(drawn: Mapping[RecordStatus, str]) -> Iterable[str]:
    for number, (status, label) in enumerate(drawn.items()):
        left = _LEFT + 110 * number
        yield f'<rect class="bar-{status}" x="{left}" y="4" width="12" height="12"/>'
        yield f'<text x="{left + 18}" y="15">{label}</text>'


def _grid(step: int, height: int) -> Iterable[str]:
    for number in range(_GRID_LINES + 1):
        y = _TOP + height * (1 - number / _GRID_LINES)
        yield f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{shown(step * number)}</text>'


def _failures(report: Report) -> str:
    heading = "<h2>Not billed</h2>"
    if not report.failures:
        return f"{heading}\n<p>Nothing: AWS Marketplace has refused none of this usage.</p>"
    reasons = _table(
        ["Reason", "Entries", "What it means, and what to do"],
        [
            [_reason(reason), _number(count), f'<td class="advice">{escape(advice(reason))}</td>']
            for reason, count in report.reasons.items()
        ],
        numbers={1},
    )
    rows = _table(
        [
            "Customer",
            "Dimension",
            "Reason",
            "Entries",
            "Quantity",
            "First recorded (UTC)",
            "Last recorded (UTC)",
        ],
        [
            [
                _name(key.customer),
                _name(dimension_name(key.dimension)),
                _reason(key.reason),
                _number(failures.records),
                _number(failures.quantity, "unbilled"),
                _instant(failures.oldest),
                _instant(failures.newest),
            ]
            for key, failures in sorted(
                report.failures.items(), key=lambda row: (row[0].customer, row[0].dimension or "")
            )
        ],
        numbers={3, 4},
    )
    return f"{heading}\n{reasons}\n<p></p>\n{rows}"


def _dimensions(report: Report) -> str:
    by_dimension: defaultdict[str, Totals] = defaultdict(lambda: {status: Total() for status in RecordStatus})
    for key, totals in report.totals.items():
        sums = by_dimension[dimension_name(key.dimension)]
        for status, one in totals.items():
            sums[status].records += one.records
            sums[status].quantity += one.quantity
    return _sums_table(
        ["Dimension"],
        [([_name(name)], totals) for name, totals in sorted(by_dimension.items())],
        labels(report),
    )


def _totals(report: Report) -> str:
    return _sums_table(
        ["Customer", "Dimension"],
        [
            ([_name(key.customer), _name(dimension_name(key.dimension))], totals)
            for key, totals in report.totals.items()
        ],
        labels(report),
    )


def _sums_table(
    names: Sequence[str], rows: Sequence[tuple[Sequence[str], Totals]], summed: Mapping[RecordStatus, str]
) -> str:
    if not rows:
        return "<p>No usage was recorded in this range.</p>"
    headings = [
        *names,
        *(f"{label}: {what}" for label in summed.values() for what in ("entries", "quantity")),
    ]
    cells = [
        [
            *first,
            *(
                cell
                for status in summed
                for cell in (
                    _number(totals[status].records),
                    _number(
                        totals[status].quantity,
                        "unbilled" if status is RecordStatus.FAILED and totals[status].records else "",
                    ),
                )
            ),
        ]
        for first, totals in rows
    ]
    return _table(headings, cells, numbers=set(range(len(names), len(headings))))


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]], numbers: set[int]) -> str:
    head = "".join(
        f'<th scope="col"{" class=number" if number in numbers else ""}>{escape(heading)}</th>'
        for number, heading in enumerate(headings)
    )
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return (
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n'
        "</table></div>"
    )


def _name(name: str) -> str:
    return f'<td class="name">{escape(name)}</td>'


def _reason(reason: str) -> str:
    # A reason written by hand may be long.
    return f'<td class="reason">{escape(textwrap.shorten(reason, MAX_REASON_LENGTH, placeholder="…"))}</td>'


def _number(quantity: int, further_class: str = "") -> str:
    return f'<td class="{f"number {further_class}".strip()}">{shown(quantity)}</td>'


def _instant(milliseconds: int | None) -> str:
    if milliseconds is None:
        return "<td>unknown</td>"
    return f'<td class="time">{EPOCH + timedelta(milliseconds=milliseconds):%Y-%m-%d %H:%M}</td>'
