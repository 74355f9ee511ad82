"""What the command line and ``cdk.context.json`` say: the range, the tables, and the product's dimensions."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import click
from pydantic import BaseModel, TypeAdapter, ValidationError

from metering_cli.reporting.report import MS_OF_A_DAY, TimeRange
from metering_handlers.contract.limits import EARLIEST_INSTANT
from metering_handlers.contract.queries import EPOCH, Instant

if TYPE_CHECKING:
    from collections.abc import Callable

Command = TypeVar("Command", bound="Callable[..., object] | click.Command")

_INSTANT: TypeAdapter[int] = TypeAdapter(Instant)
_DURATION = re.compile(r"(\d{1,6})(m|h|d)")
_DURATION_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_A_DAY = "a day such as 2026-11-23, or yesterday"
_A_TIME = "a date such as 2026-11-23, an ISO 8601 time such as 2026-11-23T10:00:00Z, or epoch milliseconds"
_CONTEXT_FILE = "cdk.context.json"


class _Params(BaseModel):
    """The members of ``params`` in ``cdk.context.json`` that the report uses, with the app's defaults."""

    metering_table_name: str | None = None
    aws_region_name: str | None = None
    stack_name: str = "cdk-apigw-marketplace-metering-records"
    transaction_id_days: int = 90
    dimensions: tuple[str, ...] = ()


class _Context(BaseModel):
    params: _Params


class Settings(NamedTuple):
    """Tables, and what the deployment says about its usage.

    Attributes
    ----------
    idempotency_table : str or None
        None if it cannot be derived: table or region are not those of the deployment.
    remembered : timedelta
        For how long the API knows an id.
    dimensions : tuple of str
        The product's dimensions; empty if they are not configured.
    """

    table: str
    region: str
    idempotency_table: str | None
    remembered: timedelta
    dimensions: tuple[str, ...]


def settings(table: str | None, region: str | None, idempotency_table: str | None) -> Settings:
    """Complete the options with ``cdk.context.json`` of the working directory.

    Raises
    ------
    click.UsageError
        If neither of them names the table and its region.
    """
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
    return Settings(
        chosen_table,
        chosen_region,
        idempotency_table or (f"{params.stack_name}-idempotency" if is_deployment else None),
        timedelta(days=params.transaction_id_days),
        params.dimensions,
    )


def time_range(oldest: str | None, newest: str | None, day: str | None, month: str | None) -> TimeRange:
    """Combine the options that choose records.

    Raises
    ------
    click.UsageError
        If one is wrong, or they exclude each other.
    """
    if sum((bool(oldest or newest), bool(day), bool(month))) > 1:
        raise click.UsageError("Use either --from and --to, or --day, or --month.")
    if month:
        first, _ = _bounds(f"{month}-01", "--month", "a month such as 2026-11")
        in_next = EPOCH + timedelta(milliseconds=first, days=31)
        return TimeRange(first, _bounds(f"{in_next:%Y-%m}-01", "--month", "")[0] - 1)
    if day:
        first, last = _bounds(day, "--day", _A_DAY)
        if first == last:
            raise click.BadParameter(f"write {_A_DAY}", param_hint="--day")
        return TimeRange(first, last)
    chosen = TimeRange(
        _bounds(oldest, "--from", _A_TIME)[0] if oldest else None,
        _bounds(newest, "--to", _A_TIME)[1] if newest else None,
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
    except ValidationError as error:
        raise click.BadParameter(f"write {wanted}, not before the year 2000", param_hint=option) from error
    if first < EARLIEST_INSTANT:
        raise click.BadParameter("is before the year 2000", param_hint=option)
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
