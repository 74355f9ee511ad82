"""``metering import``: validate a CSV file, send what is not stored yet, and report the outcome."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import click
from botocore.exceptions import BotoCoreError
from botocore.session import Session

from metering_cli.importing.client import ApiKey, Client, SendError, SigV4
from metering_cli.importing.importer import refuse_forgotten, send_parts
from metering_cli.importing.journal import RESEND_WITHIN, Import, Journal, JournalError
from metering_cli.importing.usage_file import BadLine, BadLinesError, UsageFile, read_usage_file

EXIT_CODES = {
    "imported": 0,
    "checked": 0,
    "bad_lines": 1,
    "not_completed": 3,
    "already_there": 4,
    "interrupted": 130,
}
"""Exit code of each status of the summary; click itself exits with 2 for a wrong command line."""

_GO_ON = (
    f"Run the same command again, within {RESEND_WITHIN // timedelta(hours=1)} hours, to continue from here."
)
_REGION_IN_HOST = re.compile(r"\.execute-api\.([a-z0-9-]+)\.amazonaws\.com(\.cn)?$")
_IMPORT_ID = re.compile(r"[A-Za-z0-9._:+-]{1,64}")


@dataclass
class Summary:
    """Output of ``--json``.

    Attributes
    ----------
    file, journal, import_id : str
        Paths of the CSV file and of its journal; name of the import, or an empty string.
    status : str
        A key of ``EXIT_CODES``; a successful dry run is ``checked``.
    lines, records, requests : int
        Number of lines with usage, and of the records and requests that they result in.
    records_before : int
        Number of records stored by earlier runs of this import.
    records_written : int
        Number of records stored by this run.
    records_already_there : int
        Number of records that were in the table although this import had not sent them.
    bad_lines : list of BadLine
        Errors in the file.
    error : str or None
        Why the import is not complete.
    """

    file: str
    journal: str
    import_id: str = ""
    status: str = "imported"
    lines: int = 0
    records: int = 0
    requests: int = 0
    records_before: int = 0
    records_written: int = 0
    records_already_there: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)
    error: str | None = None


def _import_id(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not _IMPORT_ID.fullmatch(value):
        raise click.BadParameter("use 1 to 64 of A-Z a-z 0-9 . _ : + -")
    return value


def _api_url(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
    if value is None:
        return None
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise click.BadParameter("write the URL of the API's stage, https://…/prod")
    return value.rstrip("/")


@click.command(
    "import",
    epilog="\b\nExit codes:\n"
    "  0    all usage is in the table (or --dry-run found no errors)\n"
    "  1    the file has errors; nothing was sent\n"
    "  2    the command line or the settings are wrong; nothing was sent\n"
    "  3    not completed: the message says why, and whether to run the command again\n"
    "  4    usage was in the table already, but not from an import of this file\n"
    "  130  interrupted; run the command again to continue",
)
# Links are resolved, because all links to a file must share its journal.
@click.argument("usage_csv", type=click.Path(exists=True, dir_okay=False, resolve_path=True, path_type=Path))
@click.option(
    "--api-url",
    envvar="METERING_API_URL",
    show_envvar=True,
    callback=_api_url,
    help="URL of the API's stage: output ApiUrl of the stack.  [required unless --dry-run]",
)
@click.option(
    "--region",
    help="AWS region of the API. Default: the one in the URL, or the one in the AWS settings.",
)
@click.option(
    "--api-key",
    envvar="METERING_API_KEY",
    show_envvar=True,
    help="API key to send instead of a signature. Prefer the environment variable: other users of the"
    " computer can see arguments.",
)
@click.option(
    "--import-id",
    metavar="NAME",
    callback=_import_id,
    help="Name of this import: the same lines under a new name are imported again, as further usage.",
)
@click.option(
    "--settled",
    metavar="REQUEST",
    type=click.IntRange(min=1),
    multiple=True,
    help="Number of a request of unknown outcome that you have checked by hand; it is not sent again.",
)
@click.option(
    "--dry-run", is_flag=True, help="Validate the file and report what would be sent; send nothing."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def import_command(  # noqa: PLR0913, PLR0917 - the command line's options
    usage_csv: Path,
    api_url: str | None,
    region: str | None,
    api_key: str | None,
    import_id: str | None,
    settled: tuple[int, ...],
    dry_run: bool,
    as_json: bool,
) -> None:
    """Import the usage in USAGE_CSV through the metering API, each line exactly once.

    The file's header is customerIdentifier,dimension_name,dimension_value. All lines are validated before
    anything is sent. A journal beside the file (USAGE_CSV.imported.jsonl) records what was sent: after an
    interruption, run the same command again.
    """
    auth = None
    if not dry_run:
        if api_url is None:
            raise click.UsageError("Set the URL of the API, with --api-url or METERING_API_URL.")
        auth = ApiKey(api_key) if api_key else _sigv4(api_url, region)
    journal_path = Journal.path_for(usage_csv)
    summary = Summary(str(usage_csv), str(journal_path), import_id or "")
    try:
        usage = read_usage_file(usage_csv)
        summary.lines, summary.records, summary.requests = usage.lines, usage.records, len(usage.parts)
        if api_url is None or auth is None:
            summary.status = "checked"
            current = Journal.read(journal_path).find(import_id, usage.content, api_url)
            if current is not None:
                _count_done(current, usage, summary)
                refuse_forgotten(current, usage)
        else:
            with Journal.open(journal_path) as journal:
                current = journal.find(import_id, usage.content, api_url) or journal.start(
                    import_id or "", usage.content, api_url, len(usage.parts)
                )
                for number in settled:
                    journal.settle(current, number)
                _count_done(current, usage, summary)
                _send(Client(api_url, auth), journal, current, usage, summary)
    except BadLinesError as error:
        summary.status, summary.bad_lines = "bad_lines", error.bad_lines
    except SendError as error:
        summary.status, summary.error = (
            "not_completed",
            f"{error}\nNot all usage is in the table yet. {_GO_ON}",
        )
    except (JournalError, OSError) as error:
        summary.status, summary.error = "not_completed", str(error)
    except KeyboardInterrupt:
        summary.status, summary.error = "interrupted", f"Interrupted. {_GO_ON}"
    if as_json:
        click.echo(json.dumps(asdict(summary), ensure_ascii=False))
    _report(summary, usage_csv.name, quiet=as_json)
    sys.exit(EXIT_CODES[summary.status])


def signing_region(api_url: str, session: Session) -> str | None:
    """Return the region in an API Gateway host name, or for other host names the one in the AWS settings.

    Parameters
    ----------
    api_url : str
        URL of the API.
    session : Session
        Session with the AWS settings.

    Returns
    -------
    str or None
        Name of the region; None if none is set.
    """
    in_host = _REGION_IN_HOST.search(urlsplit(api_url).hostname or "")
    return in_host[1] if in_host else os.environ.get("AWS_REGION") or session.get_config_variable("region")


def _sigv4(api_url: str, region: str | None) -> SigV4:
    try:
        session = Session()
        region = region or signing_region(api_url, session)
        credentials = session.get_credentials()
    except BotoCoreError as error:
        raise click.UsageError(str(error)) from error
    if not region:
        raise click.UsageError("Set the AWS region of the API, with --region or AWS_REGION.")
    if credentials is None:
        raise click.UsageError(
            "There are no AWS credentials to sign with: set them up as for the AWS CLI, or send an API key."
        )
    return SigV4(credentials, region)


def _count_done(current: Import, usage: UsageFile, summary: Summary) -> None:
    summary.import_id = current.started.import_id
    for part in usage.parts:
        if part.number in current.already_there:
            summary.records_already_there += part.records
        elif part.number in current.done:
            summary.records_before += part.records


def _send(client: Client, journal: Journal, current: Import, usage: UsageFile, summary: Summary) -> None:
    with click.progressbar(
        length=usage.records, label="Sending", show_pos=True, file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as bar:
        bar.update(summary.records_before + summary.records_already_there)
        for part in send_parts(client, journal, current, usage, _notify):
            if part.number in current.already_there:
                summary.records_already_there += part.records
            else:
                summary.records_written += part.records
            bar.update(part.records)
    if summary.records_already_there:
        summary.status = "already_there"
        summary.error = (
            f"{summary.records_already_there} records were in the table already, and were not written again:"
            " the same lines were imported within the last 24 hours, from another file or with a journal that"
            " was deleted. If they are further usage that happens to look the same, import them with"
            " --import-id and a name for that import, such as the hour it is for."
        )


def _notify(message: str) -> None:
    # A terminal has the progress bar on the current line; it is drawn again below the message.
    click.echo(("\n" if sys.stderr.isatty() else "") + message, err=True)


def _report(summary: Summary, name: str, *, quiet: bool) -> None:
    for bad in summary.bad_lines:
        column = f"{bad.column}: " if bad.column else ""
        click.echo(f"{name}:{bad.line}: {column}{bad.detail}", err=True)
    if summary.bad_lines:
        click.echo(f"{_count(len(summary.bad_lines), 'problem')} in {name}. Nothing was sent.", err=True)
    if summary.error:
        click.echo(summary.error, err=True)
    done = summary.records_before + summary.records_already_there
    if quiet or summary.bad_lines or (summary.error and not done + summary.records_written):
        return
    lines, records = _count(summary.lines, "line"), _count(summary.records, "record")
    if summary.status == "checked":
        requests = _count(summary.requests, "request")
        click.echo(f"{name}: {lines}, {records} in {requests}: {summary.records - done:,} would be sent.")
    else:
        click.echo(
            f"{name}: {lines}, {records}: {summary.records_written:,} written now,"
            f" {summary.records_before:,} by earlier runs."
        )


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
