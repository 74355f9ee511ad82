"""The import: sends each request until the API has stored it, and never one that could be stored twice."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from typing import TYPE_CHECKING

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_exception,
    wait_random_exponential,
)

from metering_cli.importing.client import Client, SendError, TransientError
from metering_cli.importing.journal import Import, Journal, JournalError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from metering_cli.importing.usage_file import Part, UsageFile

PATIENCE_SECONDS = 180
"""Time for which one request is repeated before the program gives up."""

_MAX_BACKOFF_SECONDS = 30


def refuse_forgotten(current: Import, usage: UsageFile) -> None:
    """Check that the API still remembers the keys of all unanswered requests, so that repeating them is safe.

    Parameters
    ----------
    current : Import
        The import.
    usage : UsageFile
        The usage it sends.

    Raises
    ------
    JournalError
        If it may have forgotten one; the message says what to check by hand.
    """
    forgotten = current.forgotten()
    if not forgotten:
        return
    unanswered = "".join(
        f"\n  request {part.number}, first sent {shown(current.unanswered[part.number])}:"
        f" {part.records} records of lines {_ranges(part.lines)}"
        for part in usage.parts
        if part.number in forgotten
    )
    since = min(current.unanswered[number] for number in forgotten)
    settled = " ".join(f"--settled {number}" for number in forgotten)
    raise JournalError(
        f"It is not known whether these requests, sent a day ago or earlier, were stored:{unanswered}\n"
        "The API remembers requests for 24 hours, so sending these again could bill their usage twice. List"
        " the customers of those lines with GET /listMeteringRecords/{customerIdentifier}?from="
        f"{since.timestamp() * 1000:.0f} and see which lines are in the table. Import the others from a"
        f" file of their own; then run again with {settled}."
    )


def send_parts(
    client: Client, journal: Journal, current: Import, usage: UsageFile, notify: Callable[[str], None]
) -> Iterator[Part]:
    """Send every request that is not done yet.

    Parameters
    ----------
    client : Client
        Client of the API.
    journal : Journal
        Journal of the file; every request is recorded in it.
    current : Import
        The import to continue.
    usage : UsageFile
        The usage it sends.
    notify : callable
        Called with a message before a request is repeated.

    Yields
    ------
    Part
        Each request, as soon as its records are known to be in the table.

    Raises
    ------
    SendError
        If the API refuses a request, or has not stored it within ``PATIENCE_SECONDS``.
    JournalError
        If an unanswered request was sent so long ago that it must not be repeated.
    """

    def attempt(part: Part) -> None:
        # Before each attempt, because the computer may sleep for days between two of them.
        refuse_forgotten(current, usage)
        is_repeated = part.number in current.unanswered
        if not is_repeated:
            journal.record("sending", current, part.number)
        try:
            was_there = client.insert(part, _key(current, part.number))
        except SendError as error:
            if not (is_repeated or error.maybe_written):
                journal.record("not_written", current, part.number, reason=str(error))
            raise
        journal.record("written", current, part.number, already_there=was_there and not is_repeated)

    def announce(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        notify(f"{error} Trying again in {state.upcoming_sleep:.0f} s.")

    retrying = Retrying(
        retry=retry_if_exception_type(TransientError),
        wait=wait_exception(_retry_after) + wait_random_exponential(max=_MAX_BACKOFF_SECONDS),
        stop=stop_before_delay(PATIENCE_SECONDS),
        before_sleep=announce,
        reraise=True,
    )
    for part in usage.parts:
        if part.number not in current.done:
            retrying(attempt, part)
            yield part


def _key(current: Import, number: int) -> str:
    """Return the idempotency key of a request; the same usage has the same key on every computer."""
    started = current.started
    digest = hashlib.sha256(f"{started.import_id}\n{started.content}".encode()).hexdigest()
    return f"usage-import-{digest}-{number}"


def _retry_after(error: BaseException) -> float:
    return error.retry_after if isinstance(error, TransientError) else 0


def _ranges(numbers: Sequence[int]) -> str:
    """Format ascending numbers as ranges: 2-9, 12."""
    starts = [0, *(index for index, (one, two) in enumerate(pairwise(numbers), 1) if two != one + 1)]
    runs = [numbers[start:end] for start, end in zip(starts, [*starts[1:], len(numbers)], strict=True)]
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs)
