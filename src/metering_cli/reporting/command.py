"""``metering report``: reports from the metering table what was billed and what was not."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import sys
import tempfile
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from pydantic import BaseModel, TypeAdapter, ValidationError
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from metering_cli.importing.journal import Journal
from metering_cli.reporting.failures import Resend, advice, is_doubtful, to_resend, write_usage_file
from metering_cli.reporting.page import LABELS, dimension_name, duration, labels, render_page, shown
from metering_cli.reporting.report import Report, TimeRange
from metering_cli.reporting.scan import SEGMENTS, ReadCapacity, read_pages
from metering_handlers.contract.queries import EPOCH, Instant, RecordStatus

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from metering_cli.reporting.failures import FailedUsage

ALL_BILLED = 0
NOT_ALL_BILLED = 1
NOT_COMPLETED = 3
INTERRUPTED = 130
"""Exit codes; click itself exits with 2 for a wrong command line."""

CLOSING_TIME = timedelta(minutes=5)
"""Time after its end in which a range may get records: a request takes up to 29 s, and clocks differ."""
DEFAULT_READ_CAPACITY = 1_000
"""Read capacity units a second: 4 MB. A new on-demand table serves 12,000
(DynamoDB Developer Guide, "On-demand capacity mode")."""

_CONTEXT_FILE = Path("cdk.context.json")
_CLIENT_CONFIG = Config(
    connect_timeout=10,
    read_timeout=30,
    retries={"mode": "standard", "total_max_attempts": 8},
    max_pool_connections=SEGMENTS,
)
_INSTANT: TypeAdapter[int] = TypeAdapter(Instant)
_DURATION = re.compile(r"(\d{1,6})(m|h|d)")
_DURATION_UNITS = {"m": timedelta(minutes=1), "h": timedelta(hours=1), "d": timedelta(days=1)}
_PIPE_WIDTH = 180
"""Width of the table where there is no terminal."""
_MAX_NAMED = 20
"""Maximum number of usage entries listed in a message."""


class ReportError(Exception):
    """The report failed; the message says why, and what to do."""


class _Params(BaseModel):
    """The members of ``params`` in ``cdk.context.json`` that the report uses."""

    metering_table_name: str
    aws_region_name: str


class _Context(BaseModel):
    params: _Params


@dataclass(frozen=True)
class Source:
    """Source of the records.

    Attributes
    ----------
    table_name, region : str
        The metering table, and its AWS region.
    customer : str or None
        The only customer to report.
    """

    table_name: str
    region: str
    customer: str | None


def _instant(_context: click.Context, _parameter: click.Parameter, value: str | None) -> int | None:
    if value is None:
        return None
    try:
        return _INSTANT.validate_python(value)
    except ValidationError as error:
        raise click.BadParameter(
            "write epoch milliseconds, or an ISO 8601 time from 1970 on such as 2026-11-23T10:00:00Z"
        ) from error


def _duration(_context: click.Context, _parameter: click.Parameter, value: str) -> timedelta:
    parts = _DURATION.fullmatch(value)
    if parts is None:
        raise click.BadParameter("write a number of minutes, hours or days, such as 90m, 3h or 1d")
    return int(parts[1]) * _DURATION_UNITS[parts[2]]


def _doubtful_reasons(
    _context: click.Context, _parameter: click.Parameter, value: tuple[str, ...]
) -> tuple[str, ...]:
    """Refuse reasons whose usage would be in two files, and be sent twice."""
    for reason in value:
        if not is_doubtful(reason):
            raise click.BadParameter(f"usage that failed for {reason} is in the file without this option")
    return value


def _output_file(_context: click.Context, _parameter: click.Parameter, value: Path | None) -> Path | None:
    """Refuse a file that could not be written, before the table is read."""
    if value is not None and not value.parent.is_dir():
        raise click.BadParameter(f"there is no folder {value.parent}")
    return value


_FILE = click.Path(dir_okay=False, writable=True, path_type=Path)


@click.command(
    "report",
    epilog="\b\nExit codes:\n"
    "  0    all usage in the range is billed, or waits no longer than --overdue\n"
    "  1    usage in the range was not billed, or waits longer\n"
    "  2    the command line or the settings are wrong\n"
    "  3    not completed: the message says why; no file was written\n"
    "  130  interrupted; no file was written",
)
@click.option(
    "--from",
    "oldest",
    metavar="TIME",
    callback=_instant,
    help="Report usage recorded then or later: ISO 8601, in UTC unless it says otherwise, or epoch ms.",
)
@click.option(
    "--to", "newest", metavar="TIME", callback=_instant, help="Report usage recorded then or earlier."
)
@click.option("--customer", metavar="ID", help="Report this customer only; reads nothing else.")
@click.option(
    "--status",
    type=click.Choice([status.value for status in RecordStatus]),
    help="Show usage of this status only. The exit code still covers the whole range.",
)
@click.option(
    "--html",
    "html_path",
    type=_FILE,
    callback=_output_file,
    help="Write the report as one HTML page, with a chart.",
)
@click.option(
    "--csv",
    "csv_path",
    type=_FILE,
    callback=_output_file,
    help="Write the totals; with --status failed, the usage to send again by `metering import`.",
)
@click.option(
    "--reason",
    "reasons",
    metavar="REASON",
    multiple=True,
    callback=_doubtful_reasons,
    help="With --csv and --status failed: write only usage that failed for this reason, after which AWS may"
    " have billed it, such as DuplicateRecord, once you know that it has not. May be repeated.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output, no table.")
@click.option("--table", "table_name", metavar="NAME", help="Metering table. Default: from cdk.context.json.")
@click.option("--region", metavar="NAME", help="AWS region. Default: from cdk.context.json.")
@click.option(
    "--read-capacity",
    metavar="UNITS",
    type=click.IntRange(min=1),
    default=DEFAULT_READ_CAPACITY,
    show_default=True,
    help="Read capacity units to consume in a second at most; 256 read 1 MB.",
)
@click.option(
    "--overdue",
    metavar="DURATION",
    default="3h",
    show_default=True,
    callback=_duration,
    help="How long usage may wait for the hourly job: minutes (90m), hours (3h) or days (1d).",
)
def report_command(  # noqa: PLR0913, PLR0917 - the command line's options
    oldest: int | None,
    newest: int | None,
    customer: str | None,
    status: str | None,
    html_path: Path | None,
    csv_path: Path | None,
    reasons: tuple[str, ...],
    as_json: bool,
    table_name: str | None,
    region: str | None,
    read_capacity: int,
    overdue: timedelta,
) -> None:
    """Report the outcome of the usage in the metering table: pending, billed, or not billed and why.

    Reads the table with the AWS credentials that the AWS CLI would use; it needs dynamodb:Scan, or with
    --customer dynamodb:Query.
    """
    if oldest is not None and newest is not None and newest < oldest:
        raise click.UsageError("--to is before --from.")
    if customer == "":
        raise click.UsageError("--customer is empty.")
    only = RecordStatus(status) if status else None
    resends = csv_path is not None and only is RecordStatus.FAILED
    if reasons and not resends:
        raise click.UsageError("--reason goes with --csv and --status failed.")
    source = _source(table_name, region, customer)
    client = _client(source.region)
    time_range = TimeRange(oldest, newest)
    now = datetime.now(UTC)
    try:
        report = _read(client, source, time_range, ReadCapacity(read_capacity))
        selected = report.only(only) if only else report
        problems = _problems(report, now, overdue)
        messages = list(problems)
        if report.without_time:
            messages.append(_without_time(report))
        files: dict[Path, str] = {}
        if resends and csv_path is not None:
            resend = to_resend(report.failed, reasons)
            files[csv_path] = _resend_csv(csv_path, resend)
            import_id = _import_id(time_range, reasons)
            messages += _resend_messages(csv_path, resend, report, import_id, now)
        elif csv_path is not None:
            files[csv_path] = _totals_csv(selected)
        subtitle = _subtitle(source, report, only, now)
        if html_path is not None:
            files[html_path] = render_page(selected, subtitle, " ".join(problems) or None, now)
        with _written(files):
            if as_json:
                click.echo(json.dumps(_as_json(selected, now), ensure_ascii=False))
            else:
                click.echo(_tables(selected, subtitle, now), nl=False)
        for message in messages:
            click.echo(message, err=True)
        sys.exit(NOT_ALL_BILLED if problems else ALL_BILLED)
    except (ReportError, BotoCoreError, ClientError, OSError) as error:
        click.echo(f"{_explained(error, source)} There is no report.", err=True)
        sys.exit(NOT_COMPLETED)
    except KeyboardInterrupt:
        click.echo("Interrupted. There is no report.", err=True)
        sys.exit(INTERRUPTED)


def _source(table_name: str | None, region: str | None, customer: str | None) -> Source:
    if table_name and region:
        return Source(table_name, region, customer)
    try:
        params = _Context.model_validate_json(_CONTEXT_FILE.read_bytes()).params
    except (OSError, ValidationError) as error:
        raise click.UsageError(
            f"{_CONTEXT_FILE.name} does not name the table and its region; use --table and --region."
        ) from error
    return Source(table_name or params.metering_table_name, region or params.aws_region_name, customer)


def _client(region: str) -> DynamoDBClient:
    try:
        session = Session()
        if session.get_credentials() is None:
            raise click.UsageError("There are no AWS credentials: set them up as for the AWS CLI.")
        client = session.create_client("dynamodb", region_name=region, config=_CLIENT_CONFIG)
    except (BotoCoreError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    return cast("DynamoDBClient", client)


def _read(client: DynamoDBClient, source: Source, time_range: TimeRange, capacity: ReadCapacity) -> Report:
    report = Report(time_range)
    console = Console(stderr=True)
    progress = Progress(
        SpinnerColumn(),
        TextColumn("Reading"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("records"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    with progress, closing(read_pages(client, source.table_name, source.customer, capacity)) as pages:
        total = _about_as_many(client, source) if console.is_terminal and not source.customer else None
        task = progress.add_task("", total=total)
        for page in pages:
            report.add(page)
            progress.advance(task, len(page))
    return report


def _about_as_many(client: DynamoDBClient, source: Source) -> int | None:
    """Return the approximate number of items, hours old, for the progress bar only."""
    try:
        return client.describe_table(TableName=source.table_name)["Table"].get("ItemCount")
    except (BotoCoreError, ClientError):
        return None


def _explained(error: Exception, source: Source) -> str:
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
        return f"The region {source.region} has no table {source.table_name} (--table, --region)."
    text = str(error)
    return text if text.endswith((".", "!")) else f"{text}."


def _problems(report: Report, now: datetime, overdue: timedelta) -> list[str]:
    """Return the reasons for exit code 1."""
    problems = []
    if reasons := report.reasons:
        counted = ", ".join(f"{printable(reason)} {count:,}" for reason, count in reasons.items())
        problems.append(f"Not billed: {_count(reasons.total(), 'usage entry')} ({counted}).")
    age = report.oldest_pending_age(now)
    if age is not None and age > overdue:
        problems.append(
            f"The oldest of {_count(report.pending_records, 'pending record')} waits {duration(age)}, longer"
            f" than {duration(overdue)}: does the hourly job run, and does it keep up?"
        )
    return problems


def _without_time(report: Report) -> str:
    left_out = " and left out of this range" if report.time_range.is_bounded else ""
    records = _count(report.without_time, "record")
    return f"The create_timestamp of {records} is not a time; made by hand{left_out}."


def _resend_messages(path: Path, resend: Resend, report: Report, import_id: str, now: datetime) -> list[str]:
    messages = [f"{path.name}: {_count(len(resend.lines), 'line')} to send again."]
    if resend.doubtful:
        reasons = sorted({usage.reason for usage in resend.doubtful})
        messages.append(
            f"NOT in {path.name}, because AWS may have billed them:"
            f" {_count(len(resend.doubtful), 'usage entry')}.{_listed(resend.doubtful)}"
        )
        messages += [f"  {printable(reason)}: {advice(reason)}" for reason in reasons]
        messages.append(
            "docs/operations.md, “What AWS has billed”, says how to look. Once you know that AWS has billed"
            " none of a reason's usage, write it to a file of its own, with --reason."
        )
    if resend.unsendable:
        messages.append(
            f"NOT in {path.name}, because the API does not take them:"
            f" {_count(len(resend.unsendable), 'usage entry')}; correct these by hand:"
        )
        messages += [f"{_named(usage)}: {why}" for usage, why in resend.unsendable]
    if open_because := _open_because(report, now):
        messages.append(
            f"WARNING: the range is still open, because {' and '.join(open_because)}. Usage that fails later"
            f" will not be in {path.name}; if you import it now and export the range again, what you imported"
            " is in the next file once more. Export whole, closed days only: see docs/usage-report.md."
        )
    elif resend.lines:
        messages.append(f"Send them once: metering import {path.name} --import-id {import_id}")
    return messages


def _open_because(report: Report, now: datetime) -> list[str]:
    """Return why usage in the range may still fail, if it may."""
    reasons = []
    newest = report.time_range.newest
    latest_closed = (now - CLOSING_TIME - EPOCH) // timedelta(milliseconds=1)
    if newest is None:
        reasons.append("it has no end (--to)")
    elif newest > latest_closed:
        reasons.append(f"it ends less than {duration(CLOSING_TIME)} ago or in the future")
    if report.pending_records:
        reasons.append(f"{_count(report.pending_records, 'record')} in it wait for the hourly job")
    return reasons


def _import_id(time_range: TimeRange, reasons: Collection[str]) -> str:
    """Return an id of the file: without one, the same usage in two files would be taken for a repeat."""
    times = [
        f"{EPOCH + timedelta(milliseconds=bound):%Y%m%dT%H%M}"
        for bound in (time_range.oldest, time_range.newest)
        if bound is not None
    ]
    # Reasons may be too long for an import id, or have other characters.
    digest = [hashlib.sha256("\n".join(sorted(reasons)).encode()).hexdigest()[:8]] if reasons else []
    return "-".join(["failed", *times, *digest])


def _listed(failed: list[FailedUsage]) -> str:
    listed = "".join(f"\n{_named(usage)} ({printable(usage.reason)})" for usage in failed[:_MAX_NAMED])
    further = len(failed) - _MAX_NAMED
    return f"{listed}\n  and {further:,} more" if further > 0 else listed


def _named(usage: FailedUsage) -> str:
    return (
        f"  {printable(usage.customer)} {usage.create_timestamp} {printable(str(usage.dimension))}"
        f" {printable(str(usage.value))}"
    )


def _resend_csv(path: Path, resend: Resend) -> str:
    file = io.StringIO(newline="")
    write_usage_file(resend.lines, file)
    journal = Journal.path_for(path)
    if journal.exists() and (not path.exists() or path.read_text(encoding="utf-8") != file.getvalue()):
        raise ReportError(
            f"{path} was imported, as {journal.name} shows, and what has to be sent again is something else"
            " now. Keep both files, and give the new one a name of its own; it may hold usage that you have"
            " sent again already."
        )
    return file.getvalue()


def _totals_csv(report: Report) -> str:
    file = io.StringIO(newline="")
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [
            "customerIdentifier",
            "dimension",
            *(f"{status}_{what}" for status in RecordStatus for what in ("records", "quantity")),
        ]
    )
    for key, totals in report.totals.items():
        sums = [
            value for status in RecordStatus for value in (totals[status].records, totals[status].quantity)
        ]
        writer.writerow([*key, *sums])
    return file.getvalue()


@contextmanager
def _written(files: Mapping[Path, str]) -> Iterator[None]:
    """Write files, which appear all together if the block succeeds, or not at all."""
    with ExitStack() as stack:
        partials = []
        for path, text in files.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory(dir=path.parent, prefix=".report-"))
            partials.append((Path(folder) / path.name, path))
            partials[-1][0].write_text(text, encoding="utf-8", newline="")
        yield
        for partial, path in partials:
            partial.replace(path)


def _as_json(report: Report, now: datetime) -> dict[str, object]:
    age = report.oldest_pending_age(now)
    return {
        "totals": [
            {"customerIdentifier": key.customer, "dimension": key.dimension}
            | {
                status.value: {"records": one.records, "quantity": one.quantity}
                for status, one in totals.items()
            }
            for key, totals in report.totals.items()
        ],
        "reasons": report.reasons,
        "oldest_pending_age_seconds": None if age is None else age // timedelta(seconds=1),
    }


def _subtitle(source: Source, report: Report, only: RecordStatus | None, now: datetime) -> str:
    bounds = (("from", report.time_range.oldest), ("to", report.time_range.newest))
    parts = [
        f"Table {source.table_name} in {source.region}",
        " ".join(f"{word} {_iso(bound)}" for word, bound in bounds if bound is not None) or "all of it",
        *([f"customer {source.customer}"] if source.customer else []),
        *([f"only what is {LABELS[only].lower()}"] if only else []),
        _count(report.records, "record"),
        f"read {now:%Y-%m-%d %H:%M} UTC",
    ]
    return " · ".join(parts)


def _iso(milliseconds: int) -> str:
    instant = EPOCH + timedelta(milliseconds=milliseconds)
    return (
        instant.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00").removesuffix(".000")
        + " UTC"
    )


def _tables(report: Report, subtitle: str, now: datetime) -> str:
    """Render the report as tables, as wide as standard output."""
    console = Console()
    if not console.is_terminal:
        console.width = _PIPE_WIDTH
    statuses = labels(report)
    table = Table("Customer", "Dimension", title="Usage by customer and dimension", title_justify="left")
    for column in table.columns:
        column.overflow = "fold"
    for label in statuses.values():
        table.add_column(f"{label}:\nentries", justify="right")
        table.add_column("\nquantity", justify="right")
    for key, totals in report.totals.items():
        cells = [_cell(key.customer), _cell(dimension_name(key.dimension))]
        for status in statuses:
            style = "red" if status is RecordStatus.FAILED and totals[status].records else ""
            cells += (
                Text(shown(value), style) for value in (totals[status].records, totals[status].quantity)
            )
        table.add_row(*cells)
    console.begin_capture()
    console.print(_cell(subtitle))
    console.print(table)
    if report.failures:
        reasons = Table("Reason", title="Not billed", title_justify="left")
        reasons.add_column("Entries", justify="right")
        reasons.add_column("Sent again by --csv")
        reasons.add_column("What it means, and what to do")
        for reason, count in report.reasons.items():
            sent_again = "only with --reason" if is_doubtful(reason) else "yes"
            reasons.add_row(_cell(reason), f"{count:,}", sent_again, advice(reason))
        console.print(reasons)
    age = report.oldest_pending_age(now)
    waits = f"; the oldest pending record waits {duration(age)}" if age is not None else ""
    counts = report.by_status()
    sums = ", ".join(f"{label.lower()} {counts[status]:,}" for status, label in statuses.items())
    console.print(f"Usage entries: {sums}{waits}.", highlight=False)
    return console.end_capture()


def _cell(text: str) -> Text:
    return Text(printable(text))


def printable(text: str) -> str:
    """Escape control characters, which could control the terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )


def _count(number: int, noun: str) -> str:
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else noun + "s"
    return f"{number:,} {noun if number == 1 else plural}"
