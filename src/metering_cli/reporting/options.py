"""What the command line and ``cdk.context.json`` say: the range, the tables, and the product's dimensions."""

from __future__ import annotations

import re
from calendar import monthrange
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click
from pydantic import BaseModel, TypeAdapter, ValidationError

from metering_cli.reporting.report import MS_OF_A_DAY, TimeRange
from metering_handlers.contract.deployment import DEFAULT_STACK_NAME, idempotency_table_name
from metering_handlers.contract.limits import EARLIEST_INSTANT
from metering_handlers.contract.queries import Instant

if TYPE_CHECKING:
    from collections.abc import Callable

Command = TypeVar("Command", bound="Callable[..., object] | click.Command")

_INSTANT: TypeAdapter[int] = TypeAdapter(Instant)
_LATEST_INSTANT = 10**14
"""Milliseconds, in the year 5138; further away, dates and the units of time cannot be told."""
_DURATION = re.compile(r"(\d{1,6})(m|h|d)")
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
    try:
        # Notepad writes a byte order mark, which the CDK CLI ignores too.
        text = Path(_CONTEXT_FILE).read_text(encoding="utf-8-sig")
        params = _Context.model_validate_json(text).params
    except FileNotFoundError:
        params = _Params()
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{_CONTEXT_FILE} cannot be read: {error}") from error
    chosen_table, chosen_region = table or params.metering_table_name, region or params.aws_region_name
    if not chosen_table or not chosen_region:
        raise click.UsageError(
            f"{_CONTEXT_FILE} of this folder does not name the table and its region: run the command in the"
            " app's folder, or use --table and --region."
        )
    is_deployment = (chosen_table, chosen_region) == (params.metering_table_name, params.aws_region_name)
    derived = idempotency_table_name(params.stack_name) if is_deployment else None
    return Settings(chosen_table, chosen_region, idempotency_table or derived, params.dimensions)


def time_range(oldest: str | None, newest: str | None, day: str | None, month: str | None) -> TimeRange:
    """Combine the options that choose records."""
    if [(oldest, newest) != (None, None), day is not None, month is not None].count(True) > 1:
        raise click.UsageError("Use either --from and --to, or --day, or --month.")
    if month is not None:
        if re.fullmatch(r"\d{4}-\d{2}", month) is None:
            raise click.BadParameter(f"write {_A_MONTH}", param_hint="--month")
        first, _ = _bounds(f"{month}-01", "--month", _A_MONTH)
        _, days = monthrange(int(month[:4]), int(month[5:]))
        return TimeRange(first, first + days * MS_OF_A_DAY - 1)
    if day is not None:
        first, last = _bounds(day, "--day", _A_DAY)
        if first == last:
            raise click.BadParameter(f"write {_A_DAY}", param_hint="--day")
        return TimeRange(first, last)
    chosen = TimeRange(
        None if oldest is None else _bounds(oldest, "--from", _A_TIME)[0],
        None if newest is None else _bounds(newest, "--to", _A_TIME)[1],
    )
    if chosen.oldest is not None and chosen.newest is not None and chosen.newest < chosen.oldest:
        raise click.UsageError("--to is before --from.")
    return chosen


def _bounds(text: str, option: str, wanted: str) -> tuple[int, int]:
    """Return the first and the last millisecond of a time: a date is all of its day."""
    if text == "yesterday":
        text = (datetime.now(UTC).date() - timedelta(days=1)).isoformat()
    try:
        first = _INSTANT.validate_python(text)
    except ValidationError:
        first = 0
    if not EARLIEST_INSTANT <= first < _LATEST_INSTANT:
        raise click.BadParameter(f"write {wanted}, not before the year 2000 or after 5000", param_hint=option)
    is_date = len(text) <= len("2026-11-23")
    return first, first + MS_OF_A_DAY - 1 if is_date else first


def duration_option(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    """Parse a duration."""
    parts = _DURATION.fullmatch(value)
    if parts is None:
        raise click.BadParameter("write a number of minutes, hours or days, such as 90m, 3h or 1d")
    return int(parts[1]) * _DURATION_UNITS[parts[2]]


def file_option(name: str, *suffixes: str, help: str) -> Callable[[Command], Command]:  # noqa: A002 - click's
    """Return an option that names an output file, which is checked before the table is read."""

    def check(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
        if value is not None and not value.parent.is_dir():
            raise click.BadParameter(f"there is no folder {value.parent}")
        if value is not None and value.suffix.lower() not in suffixes:
            raise click.BadParameter(f"the name must end with {' or '.join(suffixes)}")
        return value

    file_type = click.Path(dir_okay=False, writable=True, path_type=Path)
    return click.option(name, type=file_type, callback=check, help=f"{help} ({', '.join(suffixes)})")
