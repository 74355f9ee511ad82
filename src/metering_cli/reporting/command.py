"""``metering report``: reports from the metering table what was billed and what was not."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.session import Session
from rich.console import Console
from rich.progress import Progress

from metering_cli.reporting.failures import FEWEST_DAYS_KNOWN, set_states
from metering_cli.reporting.files import as_json, failures_rows, table_file, tables, totals_rows, written
from metering_cli.reporting.findings import Findings
from metering_cli.reporting.options import duration_option, file_option, settings, time_range
from metering_cli.reporting.page import render_page
from metering_cli.reporting.report import Report, TimeRange
from metering_cli.reporting.scan import NotDynamoDBError, Reader, ThrottledError
from metering_cli.reporting.send_again import FileInUseError, corrections_path, files_to_send
from metering_cli.wording import counted, printable

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from metering_cli.reporting.options import Settings

ALL_BILLED = 0
NOT_ALL_BILLED = 1
NOT_COMPLETED = 3
INTERRUPTED = 130
"""Exit codes; click itself exits with 2 for a wrong command line."""

DEFAULT_READ_CAPACITY = 1_000
"""Read capacity units a second: 4 MB. A new on-demand table serves 12,000
(DynamoDB Developer Guide, "On-demand capacity mode")."""

_CLIENT_CONFIG = Config(
    connect_timeout=10, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 8}
)
_DYNAMODB_ERRORS = (BotoCoreError, ClientError, NotDynamoDBError, ThrottledError)


@click.command(
    "report",
    context_settings={"show_default": True},
    epilog="\b\nExit codes:\n"
    "  0    nothing is open or at risk\n"
    "  1    usage was not billed and not sent again, or pending usage is at risk or overdue\n"
    "  2    the command line or the settings are wrong\n"
    "  3    not completed: the message says why; no file was written\n"
    "  130  interrupted; no file was written",
)
@click.option("--from", "oldest", metavar="TIME", help="Report usage recorded then or later (ISO 8601, UTC).")
@click.option(
    "--to", "newest", metavar="TIME", help="Report usage recorded then or earlier; a date is included."
)
@click.option("--day", metavar="DAY", help="Report one day (UTC), such as 2026-11-23 or yesterday.")
@click.option("--month", metavar="MONTH", help="Report one month (UTC), such as 2026-11.")
@click.option("--customer", metavar="ID", help="Report this customer only; reads nothing else.")
@file_option("--html", ".html", ".htm", help="Write the report as one HTML page.")
@file_option("--totals", ".csv", ".xlsx", help="Write the sums by customer and dimension.")
@file_option("--failures", ".csv", ".xlsx", help="Write each usage that was not billed, and why.")
@file_option(
    "--send-again", ".csv", help="Write failed usage as `metering import` reads it, to send it again."
)
@click.option(
    "--reason",
    "not_billed",
    metavar="REASON",
    multiple=True,
    help="With --send-again: also write usage that failed for this reason, after which AWS may have billed"
    " it, such as DuplicateRecord, once you know what AWS billed. May be repeated.",
)
@click.option(
    "--json", "print_json", is_flag=True, help="Print one JSON object to standard output, no table."
)
@click.option("--table", metavar="NAME", help="Metering table. Default: from cdk.context.json.")
@click.option("--region", metavar="NAME", help="AWS region. Default: from cdk.context.json.")
@click.option(
    "--idempotency-table",
    metavar="NAME",
    help="The API's idempotency table, which says what was sent again. Default: that of params.stack_name.",
)
@click.option(
    "--days-known",
    metavar="DAYS",
    type=click.IntRange(min=FEWEST_DAYS_KNOWN),
    default=FEWEST_DAYS_KNOWN,
    help="The smallest transaction_id_days that the API ever had: an older failure may have been sent again"
    " without a trace.",
)
@click.option(
    "--read-capacity",
    metavar="UNITS",
    type=click.IntRange(min=1),
    default=DEFAULT_READ_CAPACITY,
    help="Read capacity units to consume in a second at most; 256 read 1 MB.",
)
@click.option(
    "--overdue",
    metavar="DURATION",
    default="3h",
    callback=duration_option,
    help="How long usage may wait for the hourly job: minutes (90m), hours (3h) or days (1d).",
)
def report_command(  # noqa: PLR0913, PLR0917 - the command line's options
    oldest: str | None,
    newest: str | None,
    day: str | None,
    month: str | None,
    customer: str | None,
    html: Path | None,
    totals: Path | None,
    failures: Path | None,
    send_again: Path | None,
    not_billed: tuple[str, ...],
    print_json: bool,
    table: str | None,
    region: str | None,
    idempotency_table: str | None,
    days_known: int,
    read_capacity: int,
    overdue: timedelta,
) -> None:
    """Report the outcome of the usage in the metering table: pending, billed, or not billed and why.

    Reads with the AWS credentials that the AWS CLI would use; it needs dynamodb:Scan on the metering table,
    or with --customer dynamodb:Query, and dynamodb:BatchGetItem on the idempotency table.
    """
    if customer == "":
        raise click.UsageError("--customer is empty.")
    if not_billed and not send_again:
        raise click.UsageError("--reason goes with --send-again.")
    paths = [html, totals, failures, send_again, send_again and corrections_path(send_again)]
    named = [path.resolve() for path in paths if path]
    if len(set(named)) < len(named):
        raise click.UsageError("Two options name the same file.")
    chosen = time_range(oldest, newest, day, month)
    where = settings(table, region, idempotency_table)
    now = datetime.now(UTC)
    files: dict[Path, bytes] = {}
    more: list[str] = []
    try:
        reader = Reader(_client(where.region), read_capacity)
        report = _read(reader, where.table, customer, chosen)
        messages = _states(report, reader, where, days_known, now)
        findings = Findings.of(report, now, overdue)
        subtitle = _subtitle(where, chosen, customer, report, now)
        if send_again:
            files, more = files_to_send(send_again, report.failures, not_billed, where.dimensions)
        if html:
            files[html] = render_page(report, findings, subtitle, now).encode()
        if totals:
            files[totals] = table_file(totals, totals_rows(report))
        if failures:
            files[failures] = table_file(failures, failures_rows(report.failures))
        with written(files):
            if print_json:
                click.echo(json.dumps(as_json(report, findings)))
            else:
                click.echo(tables(report, findings, subtitle), nl=False)
    # A process that refreshes credentials may print anything.
    except (FileInUseError, *_DYNAMODB_ERRORS, OSError, json.JSONDecodeError) as error:
        click.echo(f"{_explained(error, where)} There is no report.", err=True)
        sys.exit(NOT_COMPLETED)
    except KeyboardInterrupt:
        click.echo("Interrupted. There is no report.", err=True)
        sys.exit(INTERRUPTED)
    for message in [*findings.messages(), *messages, *more]:
        click.echo(message, err=True)
    sys.exit(NOT_ALL_BILLED if findings.problems() else ALL_BILLED)


def _client(region: str) -> DynamoDBClient:
    try:
        session = Session()
        if session.get_credentials() is None:
            raise click.UsageError("There are no AWS credentials: set them up as for the AWS CLI.")
        bundle = session.get_config_variable("ca_bundle")
        if bundle and not Path(bundle).exists():
            raise click.UsageError(f"There is no file {bundle} (AWS_CA_BUNDLE).")
        client = session.create_client("dynamodb", region_name=region, config=_CLIENT_CONFIG)
    except (BotoCoreError, OSError, ValueError) as error:
        raise click.UsageError(f"The AWS credentials or settings cannot be used: {error}") from error
    return cast("DynamoDBClient", client)


def _read(reader: Reader, table: str, customer: str | None, chosen: TimeRange) -> Report:
    report = Report(chosen)
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        total = None
        if console.is_terminal and not customer:
            # Approximate and hours old, for the progress bar only.
            with suppress(BotoCoreError, ClientError):
                total = reader.client.describe_table(TableName=table)["Table"].get("ItemCount")
        task = progress.add_task("Reading records", total=total)
        for page in reader.pages(table, customer):
            report.add(page)
            progress.advance(task, len(page))
    report.failures.sort(key=lambda one: (one.customer, Decimal(one.created), one.dimension or ""))
    return report


def _states(report: Report, reader: Reader, where: Settings, days_known: int, now: datetime) -> list[str]:
    """Look up what was sent again; return messages about what cannot be told."""
    messages = []
    if report.without_time:
        left_out = "" if report.time_range == TimeRange() else " and left out of this range"
        records = counted(report.without_time, "record")
        messages.append(f"The create_timestamp of {records} is not a time; made by hand{left_out}.")
    sent_again: set[str] | None = None
    why = ""
    if where.idempotency_table:
        try:
            ids = [failure.row_id for failure in report.failures]
            sent_again = reader.existing_rows(where.idempotency_table, ids)
        except _DYNAMODB_ERRORS as error:
            why = f" The table {where.idempotency_table} cannot be read: {error}"
    set_states(report.failures, sent_again, days_known, now)
    if report.failures and sent_again is None:
        messages.append(
            f"Whether failed usage was sent again is unknown: name the table with --idempotency-table.{why}"
        )
    return messages


def _explained(error: Exception, where: Settings) -> str:
    if isinstance(error, ClientError) and error.response["Error"]["Code"] == "ResourceNotFoundException":
        return f"The region {where.region} has no table {where.table} (--table, --region)."
    if isinstance(error, json.JSONDecodeError):
        return "The AWS credentials cannot be read: their process does not print JSON."
    text = printable(str(error))
    return text if text.endswith((".", "!")) else f"{text}."


def _subtitle(where: Settings, chosen: TimeRange, customer: str | None, report: Report, now: datetime) -> str:
    words = [f"Table {where.table} in {where.region}", str(chosen)]
    if customer:
        words.append(f"customer {customer}")
    words += [counted(report.overall.records, "record"), f"read {now:%Y-%m-%d %H:%M} UTC"]
    return " · ".join(words)
