"""``metering import``: the command line."""

import json
import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import click
import requests
from botocore.session import Session
from requests_aws4auth import AWS4Auth

from metering_cli.importing.bulk import Request, beyond_an_hour, divide
from metering_cli.importing.cells import TRANSACTION_ID
from metering_cli.importing.client import CREDENTIAL_ERRORS, Client, Known, SendError, credential_error
from metering_cli.importing.summary import EXIT_CODES, Summary, warnings
from metering_cli.importing.usage_file import Line, Problem, ProblemsError, read_usage
from metering_cli.wording import counted

_REGION_IN_HOST = re.compile(r"\.execute-api\.([a-z]+(?:-[a-z]+)+-\d+)\.")


def _api_url(value: str) -> str:
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
    "paths",
    metavar="FILE…",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=Path),
)
@click.option(
    "--api-url",
    metavar="TEXT",
    envvar="METERING_API_URL",
    show_envvar=True,
    required=True,
    type=_api_url,
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
    help="API key to send instead of a signature. Prefer the environment variable: other users of the"
    " computer can see arguments.",
)
@click.option(
    "--import-id",
    metavar="NAME",
    help="Name of this body of usage, such as its month, from which lines without ids get theirs. The same"
    " line under the same NAME is stored once; a line whose value was changed is further usage.",
)
@click.option("--dry-run", is_flag=True, help="Let the API check every line, print totals, write nothing.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object to standard output.")
def import_command(  # noqa: PLR0913, PLR0917 - the command line's options
    paths: tuple[Path, ...],
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
    if len({path.resolve() for path in paths}) < len(paths):
        raise click.BadParameter("a file is given twice; its usage would count twice", param_hint="'FILE…'")
    if not re.fullmatch("[!-~]*", api_key or ""):
        detail = "has white space or other characters that no API key has; set it again"
        raise click.BadParameter(detail, param_hint="'--api-key' (env var: 'METERING_API_KEY')")
    if not re.fullmatch("[A-Za-z0-9._:+-]{1,64}", "-" if import_id is None else import_id):
        detail = "use 1 to 64 of A-Z a-z 0-9 . _ : + - without spaces"
        raise click.BadParameter(detail, param_hint="'--import-id'")
    summary = Summary(import_id)
    try:
        run_import(_client(api_url, region, api_key), paths, summary, dry_run=dry_run)
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


def _client(api_url: str, region: str | None, api_key: str | None) -> Client:
    ca_bundle = os.environ.get("AWS_CA_BUNDLE")
    if api_key:
        authorize = partial(_add_api_key, api_key)
    else:
        try:
            session = Session()
            ca_bundle = session.get_config_variable("ca_bundle")
            region = region or signing_region(api_url, session)
            credentials = session.get_credentials()
            # Refreshes those that expire, so that what is wrong with them is found before anything is sent.
            frozen = credentials and credentials.get_frozen_credentials()
        except CREDENTIAL_ERRORS as error:
            raise click.UsageError(f"There are no AWS credentials: {credential_error(error)}") from error
        if not frozen:
            raise click.UsageError("There are no AWS credentials: set them up as for the AWS CLI.")
        if not region:
            raise click.UsageError("Set the AWS region of the API, with --region or AWS_REGION.")
        authorize = AWS4Auth(refreshable_credentials=credentials, region=region, service="execute-api")
    if ca_bundle and not Path(ca_bundle).exists():
        raise click.UsageError(f"AWS_CA_BUNDLE names {ca_bundle}, which does not exist.")
    return Client(api_url, authorize, _notify, ca_bundle or None)


def _add_api_key(key: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["x-api-key"] = key
    return request


def signing_region(api_url: str, session: Session) -> str | None:
    """Return the region in an API Gateway host name, or for other host names the one in the AWS settings."""
    in_host = _REGION_IN_HOST.search(urlsplit(api_url).hostname or "")
    return in_host[1] if in_host else os.environ.get("AWS_REGION") or session.get_config_variable("region")


def _content(path: Path) -> tuple[str, bytes]:
    if path == Path("-"):
        return "standard input", sys.stdin.buffer.read()
    name = click.format_filename(path)
    try:
        return name, path.read_bytes()
    except OSError as error:
        raise click.UsageError(f"{name} cannot be read: {error.strerror}.") from error


def run_import(client: Client, paths: Sequence[Path], summary: Summary, *, dry_run: bool) -> None:
    """Let the API check every line, and then store those that it does not know; tell the summary.

    Raises ProblemsError if lines cannot be billed exactly once, and SendError if a request fails. Until the
    summary's status is ``imported``, nothing is written.
    """
    contents = [_content(path) for path in paths]
    lines, ignored = read_usage(contents, summary.import_id)
    summary.add_totals(lines)
    known, problems = _send("Checking", client.check, lines, summary)
    new = [line for line in lines if line.key not in known]
    if problems := problems or list(beyond_an_hour(new)):
        raise ProblemsError(problems)
    files = {name: [line for line in lines if line.file == name] for name in ignored}
    for name, columns in ignored.items():
        summary.add_file(name, files[name], known, columns)
    for text in warnings(files, known, summary.import_id):
        click.echo(text, err=True)
    if dry_run:
        return
    for path, (name, content) in zip(paths, contents, strict=True):
        # Its last line may have been read in part: the rest of a quantity would come as further usage.
        if path.is_file() and path.read_bytes() != content:
            raise SendError(f"{name} was changed while it was imported: import it when it is complete.")
    summary.status = "imported"
    found_stored, problems = _send("Sending", client.store, new, summary)
    summary.lines_found_stored = len(found_stored)
    if problems:
        raise ProblemsError(problems)


def _send(
    label: str, send: Callable[[Request], Known], lines: Sequence[Line], summary: Summary
) -> tuple[Known, list[Problem]]:
    """Return the known lines, and those that the API refuses, or has stored with other usage."""
    known: Known = {}
    problems: list[Problem] = []
    hidden = not sys.stderr.isatty()
    with click.progressbar(
        length=len(lines), label=label, show_pos=True, file=sys.stderr, hidden=hidden
    ) as bar:
        for request in divide(lines):
            try:
                found = send(request)
            except ProblemsError as error:
                problems += error.problems
                continue
            known |= found
            for line in request.lines:
                if found.get(line.key):
                    detail = (
                        f"{line.transaction_id!r} is stored with other usage of this customer, which counts:"
                        " give this line an id of its own if it is further usage, or take it out"
                    )
                    problems.append(Problem(line.file, line.number, TRANSACTION_ID, detail))
            if summary.status == "imported":
                summary.lines_written += len(request.lines)
            bar.update(len(request.lines))
    return known, problems


def _notify(message: str) -> None:
    # A terminal has the progress bar on the current line; it is drawn again below the message.
    click.echo(("\n" if sys.stderr.isatty() else "") + message, err=True)
