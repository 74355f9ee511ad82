"""The quickstart's table of subscribers: which customers the hourly job can bill."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from metering_handlers.contract.attributes import CUSTOMER_IDENTIFIER
from metering_handlers.dynamodb import MAX_READ_KEYS, UnavailableError, read_items

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from mypy_boto3_dynamodb import DynamoDBClient

READ_PARALLELISM = 4
"""Concurrent calls of one request."""
REMEMBERED_MS = 15 * 60 * 1000
MAX_REMEMBERED = 100_000
"""Customers, at some 300 bytes each."""


class Subscribers:
    """Looks customers up; those found are remembered for 15 minutes, the others are not."""

    def __init__(self, client: DynamoDBClient, table_name: str) -> None:
        self._client = client
        self._table_name = table_name
        self._known_until_ms: dict[str, int] = {}

    def unknown(
        self, customers: Iterable[str], time_ms: int, remaining_ms: Callable[[], int]
    ) -> frozenset[str]:
        """Return the customers that the table does not have at the time of a request, in ms since the epoch.

        Raises UnavailableError if the table did not answer in time, or cannot be read at all.
        """
        to_read = [each for each in customers if self._known_until_ms.get(each, 0) < time_ms]
        batches = [to_read[start : start + MAX_READ_KEYS] for start in range(0, len(to_read), MAX_READ_KEYS)]

        def read(batch: list[str]) -> Iterable[str]:
            return read_items(
                self._client, self._table_name, CUSTOMER_IDENTIFIER, batch, remaining_ms, keys_only=True
            )

        try:
            if len(batches) > 1:
                with ThreadPoolExecutor(READ_PARALLELISM) as pool:
                    answers = list(pool.map(read, batches))
            else:
                answers = [read(batch) for batch in batches]
        except ClientError as error:
            # The table is missing, or the function may not read it: whom the job can bill is not known.
            raise UnavailableError from error
        found = frozenset[str]().union(*answers)
        if len(self._known_until_ms) > MAX_REMEMBERED:
            self._known_until_ms.clear()
        self._known_until_ms |= dict.fromkeys(found, time_ms + REMEMBERED_MS)
        return frozenset(to_read) - found
