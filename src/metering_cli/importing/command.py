"""``metering import``: the command line."""

from __future__ import annotations

import json
import os
import re
import sys
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click
from botocore.session import Session
from requests_aws4auth import AWS4Auth

from metering_cli.importing.client import CREDENTIAL_ERRORS, Client, SendError, credential_error
from metering_cli.importing.importer import Importer
from metering_cli.importing.summary import EXIT_CODES, Summary, warnings
from metering_cli.importing.usage_file import ProblemsError, read_usage
from metering_cli.wording import counted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import requests

    from metering_cli.importing.client import Authorization

_REGION_IN_HOST = re.compile(r"\.execute-api\.([a-z]+(?:-[a-z]+)+-\d+)\.")
_STDIN = Path("-")


def _matching(
    pattern: str, detail: str
) -> Callable[[click.Context, click.Parameter, str | None], str | None]:
    """Return a callback that refuses other values, without showing them."""

    def check(_context: click.Context, _parameter: click.Parameter, value: str | None) -> str | None:
        if value is not None and not re.fullmatch(pattern, value):
            raise click.BadParameter(detail)
        return value

    return check


def _api_url(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        host = parts.hostname
    except ValueError as error:
        raise click.BadParameter("is no URL") from error
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or parts.username:
        raise click.BadParameter("write the URL of the API's stage, https://…/prod")
    if parts.scheme == "http" and host not in ("localhost", "127.0.0.1", "::1"):
        raise click.BadParameter("write https: with http, others could read the usage and the API key")
    return value.rstrip("/")


def _files(_context: click.Context, _parameter: click.Parameter, value: tuple[Path, ...]) -> tuple[Path, ...]:
    if len({path.resolve() for path in value}) < len(value):
        raise click.BadParameter("a file is given twice; its usage would count twice")
    return value


@click.command(
    "import",
    epilog="\b\nExit codes:\n"
    "  0    all usage is in the table (or --dry-run found no problem)\n"
    "  1    the files have problems; nothing was written\n"
    "  2    the command line or the settings are wrong; nothing was written\n"
    "  3    not completed: the message says why; run the command again\n"
    "  130  interrupted; run the command again",
)
@click.argument(
    "files",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
    callback=_files,
)
@click.option(
    "--api-url",
    envvar="METERING_API_URL",
    show_envvar=True,
    required=True,
    callback=_api_url,
    help="URL of the API's stage: output ApiUrl of the stack.",
)
@click.option(
    "--region",
    help="AWS region of the API. Default: the one in the URL, or the one in the AWS settings.",
)
@click.option(
    "--api-key",
    envvar="METERING_API_KEY",
    show_envvar=True,
    callback=_matching("[!-~]*", "has white space or other characters that no API key has; set it again"),
    help="API key to send instead of a signature. Prefer the environment variable: other users of the"
    " computer can see arguments.",
)
@click.option(
    "--import-id",
    metavar="NAME",
    callback=_matching("[A-Za-z0-9._:+-]{1,64}", "use 1 to 64 of A-Z a-z 0-9 . _ : + - without spaces"),
    help="Name of this body of usage, such as its month, from which lines without ids get theirs. The same"
    " line under the same NAME is stored once; a line whose value was changed is further usage.",
)
@click.option("--dry-run", is_flag=True, help="Let the API check every line, print totals, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def import_command(  # noqa: PLR0913, PLR0917 - the command line's options
    files: tuple[Path, ...],
    api_url: str,
    region: str | None,
    api_key: str | None,
    import_id: str | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Store the usage in each FILE through the metering API, each line exactly once.

    A FILE is CSV or .xlsx, or - for standard input. Its columns are customerIdentifier, dimension_name and
    dimension_value, and transaction_id unless --import-id is given. The API checks all lines before the first
    is written. The same command may be run again, with files reordered or extended: known lines are skipped.
    """
    summary = Summary(import_id)
    try:
        _run(_client(api_url, region, api_key), files, summary, dry_run=dry_run)
    except ProblemsError as error:
        summary.problems = error.problems
        # Rules may change after the check.
        status = "not_completed" if summary.status == "imported" else "problems"
        summary.stop(status, f"{counted(len(error.problems), 'problem')}.")
    except SendError as error:
        summary.stop("not_completed", str(error))
    except KeyboardInterrupt:
        summary.stop("interrupted", "Interrupted.")
    for text in summary.error_texts():
        click.echo(text, err=True)
    for text in [json.dumps(asdict(summary), ensure_ascii=False)] if as_json else summary.texts():
        click.echo(text)
    sys.exit(EXIT_CODES[summary.status])


def _content(path: Path) -> tuple[str, bytes]:
    if path == _STDIN:
        return "standard input", sys.stdin.buffer.read()
    name = click.format_filename(path)
    try:
        return name, path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from error


def _client(api_url: str, region: str | None, api_key: str | None) -> Client:
    ca_bundle = os.environ.get("AWS_CA_BUNDLE")
    if api_key:
        authorize = with_api_key(api_key)
    else:
        try:
            session = Session()
            ca_bundle = session.get_config_variable("ca_bundle")
            authorize = _signature(session, region or signing_region(api_url, session))
        except CREDENTIAL_ERRORS as error:
            raise click.UsageError(f"There are no AWS credentials: {credential_error(error)}") from error
    if ca_bundle and not Path(ca_bundle).exists():
        raise click.UsageError(f"AWS_CA_BUNDLE names {ca_bundle}, which does not exist.")
    return Client(api_url, authorize, ca_bundle or None)


def with_api_key(key: str) -> Authorization:
    """Return what adds an API key of API Gateway to a request."""

    def authorize(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["x-api-key"] = key
        return request

    return authorize


def _signature(session: Session, region: str | None) -> Authorization:
    if not region:
        raise click.UsageError("Set the AWS region of the API, with --region or AWS_REGION.")
    credentials = session.get_credentials()
    if credentials is None:
        raise click.UsageError("There are no AWS credentials: set them up as for the AWS CLI.")
    # Refreshes those that expire, so that what is wrong with them is found before anything is sent.
    credentials.get_frozen_credentials()
    signer: Authorization = AWS4Auth(
        refreshable_credentials=credentials, region=region, service="execute-api"
    )
    return signer


def signing_region(api_url: str, session: Session) -> str | None:
    """Return the region in an API Gateway host name, or for other host names the one in the AWS settings."""
    in_host = _REGION_IN_HOST.search(urlsplit(api_url).hostname or "")
    return in_host[1] if in_host else os.environ.get("AWS_REGION") or session.get_config_variable("region")


def _run(client: Client, paths: Sequence[Path], summary: Summary, *, dry_run: bool) -> None:
    contents = [_content(path) for path in paths]
    files = read_usage(contents, summary.import_id)
    lines = [line for file in files for line in file.lines]
    summary.add_totals(lines)
    with _progress("Checking", len(lines)) as advance:
        new = Importer(client, _notify, advance).check(lines)
    known = set(lines).difference(new)
    for file in files:
        summary.add_file(file, known)
    for text in warnings(files, known, summary.import_id):
        click.echo(text, err=True)
    if dry_run:
        return
    for path, (name, content) in zip(paths, contents, strict=True):
        # Its last line may have been read in part: the rest of a quantity would come as further usage.
        if path.is_file() and path.read_bytes() != content:
            raise SendError(f"{name} was changed while it was imported: import it when it is complete.")
    summary.status = "imported"
    with _progress("Sending", len(new)) as advance:

        def stored(number: int) -> None:
            summary.lines_written += number
            advance(number)

        summary.lines_found_stored, problems = Importer(client, _notify, stored).store(new)
    if problems:
        raise ProblemsError(problems)


@contextmanager
def _progress(label: str, length: int) -> Iterator[Callable[[int], None]]:
    hidden = not sys.stderr.isatty()
    with click.progressbar(length=length, label=label, show_pos=True, file=sys.stderr, hidden=hidden) as bar:
        yield bar.update


def _notify(message: str) -> None:
    # A terminal has the progress bar on the current line; it is drawn again below the message.
    click.echo(("\n" if sys.stderr.isatty() else "") + message, err=True)
