"""What the command line and ``cdk.context.json`` say: the range, the tables, and the product's dimensions."""

from __future__ import annotations

import re
from calendar import monthrange
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import click
from click.decorators import FC
from pydantic import BaseModel, TypeAdapter

from metering_cli.reporting.report import LATEST_INSTANT, MS_OF_A_DAY, TimeRange
from metering_handlers.contract.deployment import DEFAULT_STACK_NAME, idempotency_table_name
from metering_handlers.contract.limits import EARLIEST_INSTANT
from metering_handlers.contract.queries import Instant

_INSTANT: TypeAdapter[int] = TypeAdapter(Instant)
_DURATION_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_A_DAY = "a day such as 2026-11-23, or yesterday"
_A_MONTH = "a month such as 2026-11"
_A_TIME = "a date such as 2026-11-23, an ISO 8601 time such as 2026-11-23T10:00:00Z, or epoch milliseconds"
_CONTEXT_FILE = "cdk.context.json"


class _Params(BaseModel):
    """The members of ``params`` in ``cdk.context.json`` that the report uses, with the app's defaults."""

    metering_table_name: str | None = None
    aws_region_name: str | None = None
    stack_name: str = DEFAULT_STACK_NAME
    dimensions: tuple[str, ...] = ()


class _Context(BaseModel):
    params: _Params = _Params()


class Settings(NamedTuple):
    """Tables, and the product's dimensions."""

    table: str
    region: str
    idempotency_table: str | None
    """None if it cannot be derived: table or region are not those of the deployment."""
    dimensions: tuple[str, ...]
    """Empty if they are not configured."""


def settings(table: str | None, region: str | None, idempotency_table: str | None) -> Settings:
    """Complete the options with ``cdk.context.json`` of the working directory."""
    params = _Params()
    try:
        # Notepad writes a byte order mark, which the CDK CLI ignores too.
        params = _Context.model_validate_json(Path(_CONTEXT_FILE).read_text(encoding="utf-8-sig")).params
    except FileNotFoundError:
        pass
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{_CONTEXT_FILE} cannot be read: {error}") from error
    deployed = (params.metering_table_name, params.aws_region_name)
    table, region = table or deployed[0], region or deployed[1]
    if not table or not region:
        raise click.UsageError(
            f"{_CONTEXT_FILE} of this folder does not name the table and its region: run the command in the"
            " app's folder, or use --table and --region."
        )
    if not idempotency_table and (table, region) == deployed:
        idempotency_table = idempotency_table_name(params.stack_name)
    return Settings(table, region, idempotency_table, params.dimensions)


def time_range(oldest: str | None, newest: str | None, day: str | None, month: str | None) -> TimeRange:
    """Combine the options that choose records."""
    if [(oldest, newest) != (None, None), day is not None, month is not None].count(True) > 1:
        raise click.UsageError("Use either --from and --to, or --day, or --month.")
    if month is not None:
        first = _span(f"{month}-01", "--month", _A_MONTH).oldest
        days = monthrange(int(month[:4]), int(month[5:]))[1]
        return TimeRange(first, first + days * MS_OF_A_DAY - 1)
    if day is not None:
        return _span(day, "--day", _A_DAY)
    start = TimeRange() if oldest is None else _span(oldest, "--from", _A_TIME)
    end = TimeRange() if newest is None else _span(newest, "--to", _A_TIME)
    if end.newest < start.oldest:
        raise click.UsageError("--to is before --from.")
    return TimeRange(start.oldest, end.newest)


def _span(text: str, option: str, wanted: str) -> TimeRange:
    """Return a time as a range: a date is all of its day, and only a date is when a day is wanted."""
    if text == "yesterday":
        text = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    try:
        first = _INSTANT.validate_python(text)
    except ValueError:
        first = 0
    # Not 2026W07-01, which Python reads as a week at an hour west of Greenwich.
    is_date = len(text) <= len("2026-11-23") and first % MS_OF_A_DAY == 0
    if not EARLIEST_INSTANT <= first < LATEST_INSTANT or not (is_date or wanted is _A_TIME):
        raise click.BadParameter(f"write {wanted}, not before the year 2000 or after 5000", param_hint=option)
    return TimeRange(first, first + MS_OF_A_DAY - 1 if is_date else first)


def duration_option(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    """Parse a duration."""
    parts = re.fullmatch(r"(\d{1,6})(m|h|d)", value)
    if parts is None:
        raise click.BadParameter("write a number of minutes, hours or days, such as 90m, 3h or 1d")
    return int(parts[1]) * _DURATION_UNITS[parts[2]]


def file_option(name: str, *suffixes: str, help: str) -> Callable[[FC], FC]:  # noqa: A002 - click's
    """Return an option that names an output file, which is checked before the table is read."""

    def check(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and not value.parent.is_dir():
            raise click.BadParameter(f"there is no folder {value.parent}")
        if value is not None and value.suffix.lower() not in suffixes:
            raise click.BadParameter(f"the name must end with {' or '.join(suffixes)}")
        return value

    file_type = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(name, type=file_type, callback=check, help=f"{help} ({', '.join(suffixes)})")
