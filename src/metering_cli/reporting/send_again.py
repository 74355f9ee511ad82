"""The files of failed usage that ``metering import`` sends again, and what to know about them."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from metering_cli.reporting.failures import State, to_resend
from metering_cli.reporting.files import corrections_rows, csv_file, usage_rows
from metering_cli.reporting.findings import by_reason
from metering_cli.reporting.reasons import REASONS, Remedy, reason_of
from metering_cli.reporting.wording import NO_NAME, listed
from metering_cli.wording import counted, printable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from metering_cli.reporting.failures import Failure, Resend

DOUBTFUL = sorted(reason for reason, meaning in REASONS.items() if meaning.remedy is Remedy.CHECK)

_NEVER_CHANGE = (
    "Never change the customer or the transaction_id of a line: the id is known for that customer only. If"
    " the customer is wrong, set the quantity of the line to 0, and add a line with the right customer and"
    " the same transaction_id."
)


class FileInUseError(Exception):
    """A file exists that may have been edited."""


def check_reasons(not_billed: Collection[str], failures: Sequence[Failure]) -> None:
    """Refuse reasons that change nothing, such as one with a typing error."""
    known = {*DOUBTFUL, *(failure.reason for failure in failures)}
    for reason in not_billed:
        if reason_of(reason).remedy is not Remedy.CHECK:
            raise click.UsageError(f"Usage that failed for {reason} is written without --reason.")
        if reason not in known:
            raise click.UsageError(
                f"No usage failed for {printable(reason)} (--reason). Known are {', '.join(DOUBTFUL)}."
            )


def corrections_path(path: Path) -> Path:
    """Return the file, beside that of what can be sent as it is, of what has to be corrected."""
    return path.with_name(f"{path.stem}-to-correct{path.suffix}")


def files_to_send(
    path: Path, failures: Sequence[Failure], not_billed: Collection[str], dimensions: Collection[str]
) -> tuple[dict[Path, bytes], list[str]]:
    """Return the files to write, and messages; parameters as for :func:`to_resend`.

    Raises
    ------
    FileInUseError
        If one of the files exists with other content.
    """
    resend = to_resend(failures, not_billed, dimensions)
    files: dict[Path, bytes] = {}
    messages: list[str] = []
    corrections = corrections_path(path)
    if resend.send:
        files[path] = csv_file(usage_rows(resend.send))
        messages.append(
            f"{counted(len(resend.send), 'line')} to send again. Each is stored once, however often it is"
            f" sent: metering import {shlex.quote(str(path))}"
        )
    else:
        messages.append(f"Nothing can be sent again as it is; {path.name} was not written.")
    if resend.correct:
        files[corrections] = csv_file(corrections_rows(resend.correct))
        messages.append(
            f"{counted(len(resend.correct), 'line')} to correct first, then: metering import"
            f" {shlex.quote(str(corrections))}"
        )
    if files:
        messages.append(_NEVER_CHANGE)
    for file, content in files.items():
        if file.exists() and file.read_bytes() != content:
            raise FileInUseError(
                f"{file} exists and has other lines; it may have been edited, and is not overwritten. Give"
                " the new file another name: usage that is in both is stored once."
            )
    return files, messages + _left_out(resend, failures)


def _left_out(resend: Resend, failures: Sequence[Failure]) -> list[str]:
    messages = []
    if resend.check:
        messages.append(
            f"NOT written, because AWS may have billed them: {counted(len(resend.check), 'failure')}"
            f" ({by_reason(resend.check)}).{listed(map(_named, resend.check))}\nCheck what AWS billed"
            " (docs/operations.md, “What AWS has billed”), and write them with --reason: for what AWS has"
            " billed, change the quantity of the line to 0."
        )
    too_old = sum(failure.state is State.TOO_OLD for failure in failures)
    if too_old:
        messages.append(
            f"NOT written, because it is too late to tell whether they were sent again: "
            f"{counted(too_old, 'failure')}."
        )
    return messages


def _named(failure: Failure) -> str:
    return (
        f"{failure.customer} {failure.created} {failure.dimension or NO_NAME} {failure.quantity}"
        f" ({failure.reason})"
    )
