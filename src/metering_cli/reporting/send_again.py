"""The files of failed usage that ``metering import`` sends again, and what to know about them."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence
from pathlib import Path

import click
from pydantic import ValidationError

from metering_cli.reporting.failures import OPEN_STATES, Failure, State, by_reason, listed
from metering_cli.reporting.files import csv_file
from metering_cli.reporting.reasons import REASONS, UNKNOWN_DIMENSION, Remedy, reason_of
from metering_cli.reporting.report import NO_NAME
from metering_cli.usage_format import HEADER, UsageLine
from metering_cli.wording import counted, printable

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
    """Return the files to write, and messages. Raises FileInUseError if one exists with other content.

    ``not_billed`` are doubtful reasons whose usage, as the seller knows, AWS did not bill; ``dimensions`` are
    the product's, empty if they are not known.
    """
    check_reasons(not_billed, failures)
    send: list[Sequence[object]] = []
    correct: list[Sequence[object]] = []
    in_doubt: list[Failure] = []
    for failure in failures:
        if failure.state not in OPEN_STATES:
            continue
        line = (failure.customer, failure.dimension, failure.quantity, failure.transaction_id)
        if reason_of(failure.reason).remedy is Remedy.CHECK and failure.reason not in not_billed:
            in_doubt.append(failure)
        elif to_correct := _to_correct(failure.reason, line, dimensions):
            correct.append((*line, failure.reason, to_correct))
        else:
            send.append(line)
    corrections = corrections_path(path)
    # metering import ignores the further columns.
    tables = {path: [HEADER, *send], corrections: [(*HEADER, "reason", "to_correct"), *correct]}
    files = {file: csv_file(lines) for file, lines in tables.items() if len(lines) > 1}
    for file, content in files.items():
        if file.exists() and file.read_bytes() != content:
            raise FileInUseError(
                f"{file} exists and has other lines; it may have been edited, and is not overwritten. Give"
                " the new file another name: usage that is in both is stored once."
            )
    messages = [
        f"{counted(len(send), 'line')} to send again. Each is stored once, however often it is sent:"
        f" metering import {shlex.quote(str(path))}"
        if send
        else f"Nothing can be sent again as it is; {path.name} was not written."
    ]
    if correct:
        messages.append(
            f"{counted(len(correct), 'line')} to correct first, then: metering import"
            f" {shlex.quote(str(corrections))}"
        )
    if files:
        messages.append(_NEVER_CHANGE)
    return files, messages + _left_out(in_doubt, sum(one.state is State.TOO_OLD for one in failures))


def _to_correct(reason: str, line: Sequence[object], dimensions: Collection[str]) -> str | None:
    """Return what has to be corrected before a line is sent; None if nothing has to be."""
    try:
        usage = UsageLine.model_validate(dict(zip(HEADER, line, strict=True)))
    except ValidationError as error:
        return "The API refuses it: " + "; ".join(
            f"{problem['loc'][0]} {problem['msg'][:1].lower()}{problem['msg'][1:]}"
            for problem in error.errors()
        )
    if dimensions and usage.dimension_name not in dimensions:
        return "This dimension is not in params.dimensions: correct it."
    # Where the product's dimensions are known, so is the usage for which AWS refused the call.
    is_known = dimensions and reason == UNKNOWN_DIMENSION
    return reason_of(reason).to_do if reason_of(reason).remedy is Remedy.CORRECT and not is_known else None


def _left_out(in_doubt: Sequence[Failure], too_old: int) -> list[str]:
    messages = []
    if in_doubt:
        names = [
            f"{one.customer} {one.created} {one.dimension or NO_NAME} {one.quantity} ({one.reason})"
            for one in in_doubt
        ]
        messages.append(
            f"NOT written, because AWS may have billed them: {counted(len(in_doubt), 'failure')}"
            f" ({by_reason(in_doubt)}).{listed(names)}\nCheck what AWS billed"
            " (docs/operations.md, “What AWS has billed”), and write them with --reason: for what AWS has"
            " billed, change the quantity of the line to 0."
        )
    if too_old:
        messages.append(
            "NOT written, because it is too late to tell whether they were sent again:"
            f" {counted(too_old, 'failure')}."
        )
    return messages
