"""The import: the API checks every line, and then stores those that it does not know."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_before_delay,
    wait_exception,
    wait_random_exponential,
)

from metering_cli.importing.bulk import beyond_an_hour, divide
from metering_cli.importing.cells import TRANSACTION_ID
from metering_cli.importing.client import Client, TransientError
from metering_cli.importing.usage_file import Problem, ProblemsError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from metering_cli.importing.bulk import Request
    from metering_cli.importing.client import Known
    from metering_cli.importing.usage_file import Line

PATIENCE_SECONDS = 180
"""Time for which one request is repeated before the program gives up."""

_MAX_BACKOFF_SECONDS = 30


class Importer:
    """Sends lines in bulk requests, whose entries all have ids: any of them may be repeated as it is.

    Calls ``notify`` with a message before it repeats a request, and ``advance`` with the number of lines of
    each request that is done. Its methods raise ``SendError`` if a request fails for ``PATIENCE_SECONDS``, or
    would always fail.
    """

    def __init__(self, client: Client, notify: Callable[[str], None], advance: Callable[[int], None]) -> None:
        self._client = client
        self._notify = notify
        self._advance = advance

    def check(self, lines: Sequence[Line]) -> list[Line]:
        """Return the lines that the API does not know. Writes nothing.

        Raises
        ------
        ProblemsError
            If a line cannot be billed exactly once.
        """
        known, problems = self._send(self._client.check, lines)
        new = [line for line in lines if line.key not in known]
        if problems := problems or list(beyond_an_hour(new)):
            raise ProblemsError(problems)
        return new

    def store(self, new: Sequence[Line]) -> tuple[int, list[Problem]]:
        """Store lines that :meth:`check` returned.

        Returns
        -------
        tuple of int and list of Problem
            Number of lines that were stored when they were sent: by an attempt without an answer, or by
            another import meanwhile. Lines that the API refused after all, or has stored with other usage.
        """
        known, problems = self._send(self._client.store, new)
        return len(known), problems

    def _send(self, send: Callable[[Request], Known], lines: Sequence[Line]) -> tuple[Known, list[Problem]]:
        known: Known = {}
        problems: list[Problem] = []
        for request in divide(lines):
            try:
                found = self._persistently(send, request)
            except ProblemsError as error:
                problems += error.problems
                continue
            known |= found
            problems += _differing(request, found)
            self._advance(len(request.lines))
        return known, problems

    def _persistently(self, send: Callable[[Request], Known], request: Request) -> Known:
        retrying = Retrying(
            retry=retry_if_exception_type(TransientError),
            wait=wait_exception(_retry_after) + wait_random_exponential(max=_MAX_BACKOFF_SECONDS),
            stop=stop_before_delay(PATIENCE_SECONDS),
            before_sleep=self._announce,
            reraise=True,
        )
        return retrying(send, request)

    def _announce(self, state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        self._notify(f"{error} Trying again in {state.upcoming_sleep:.0f} s.")


def _differing(request: Request, known: Known) -> Iterator[Problem]:
    for line in request.lines:
        if known.get(line.key):
            detail = (
                f"{line.transaction_id!r} is stored with other usage of this customer, which counts: give"
                " this line an id of its own if it is further usage, or take it out"
            )
            yield Problem(line.file, line.number, TRANSACTION_ID, detail)


def _retry_after(error: BaseException) -> float:
    return error.retry_after if isinstance(error, TransientError) else 0
