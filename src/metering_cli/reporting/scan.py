"""Reads the whole metering table in parallel segments, within a limit of read capacity."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from metering_handlers.contract.attributes import CUSTOMER_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        QueryInputTypeDef,
        QueryOutputTypeDef,
        ScanInputTypeDef,
        ScanOutputTypeDef,
    )

    from metering_handlers.listing.query import Item

    Page = QueryOutputTypeDef | ScanOutputTypeDef
    Fetch = Callable[["Item | None"], Page]

SEGMENTS = 4
"""Parallel scans: enough to keep one CPU busy with their results."""
MAX_PAGE_UNITS = 256
"""Read capacity units of the largest page: 1 MB, in units of 4 KB, strongly consistent
(DynamoDB Developer Guide, "Read consistency" and "Scanning tables")."""

_POLL_SECONDS = 0.05


class ReadCapacity:
    """Limits the read capacity units consumed per second, for all threads together.

    The cost of a page is known only after it is read. Each call therefore reserves the maximum cost of a page
    first, and releases what it did not use. A call waits until all earlier reservations are covered.

    Parameters
    ----------
    units_per_second : float
        Read capacity units per second.
    clock : callable
        A monotonic clock, in seconds.
    """

    def __init__(self, units_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._units_per_second = units_per_second
        self._clock = clock
        self._paid_off_at = clock()
        self._lock = threading.Lock()

    def take(self, sleep: Callable[[float], object]) -> None:
        """Reserve the units of a page, after waiting until earlier reservations are covered.

        Parameters
        ----------
        sleep : callable
            Waits for some seconds. It may raise an exception, which is propagated.
        """
        while True:
            with self._lock:
                now = self._clock()
                if self._paid_off_at <= now:
                    self._paid_off_at = now + MAX_PAGE_UNITS / self._units_per_second
                    return
                wait = self._paid_off_at - now
            # In small steps, because another thread may release units.
            sleep(min(wait, _POLL_SECONDS))

    def give_back(self, consumed_units: float) -> None:
        """Release the reserved units that a call did not consume."""
        with self._lock:
            self._paid_off_at -= (MAX_PAGE_UNITS - consumed_units) / self._units_per_second


class _StoppedError(Exception):
    """No further pages are needed."""


@dataclass(frozen=True)
class _Finished:
    """Last element of a reader: the error that stopped it, if any."""

    error: Exception | None = None


def read_pages(
    client: DynamoDBClient, table_name: str, customer: str | None, capacity: ReadCapacity
) -> Generator[Sequence[Item], None, None]:
    """Read all items of the table, or of one customer; strongly consistent.

    Parameters
    ----------
    client : DynamoDBClient
        The client; it is used by several threads.
    table_name : str
        The metering table.
    customer : str or None
        Only this customer's items, by a query.
    capacity : ReadCapacity
        Limit of the reads.

    Yields
    ------
    sequence of Item
        One page; pages come in no particular order.

    Raises
    ------
    BotoCoreError, ClientError
        If a call to DynamoDB fails, after the client's own retries.

    Notes
    -----
    Closing the generator stops the reads: no new ones are started, and running ones are not waited for.
    """
    fetches = (
        [_segment(client, table_name, number) for number in range(SEGMENTS)]
        if customer is None
        else [_partition(client, table_name, customer)]
    )
    results: queue.Queue[Sequence[Item] | _Finished] = queue.Queue(maxsize=2 * len(fetches))
    stopped = threading.Event()
    for fetch in fetches:
        threading.Thread(target=_read, args=(fetch, capacity, results, stopped), daemon=True).start()
    try:
        under_way = len(fetches)
        while under_way:
            result = results.get()
            if not isinstance(result, _Finished):
                yield result
            elif result.error is not None:
                raise result.error
            else:
                under_way -= 1
    finally:
        stopped.set()


def _read(
    fetch: Fetch,
    capacity: ReadCapacity,
    results: queue.Queue[Sequence[Item] | _Finished],
    stopped: threading.Event,
) -> None:
    """Put the pages of one segment into the queue, and at the end a marker."""

    def sleep(seconds: float) -> None:
        if stopped.wait(seconds):
            raise _StoppedError

    def put(result: Sequence[Item] | _Finished) -> None:
        while not stopped.is_set():
            try:
                results.put(result, timeout=_POLL_SECONDS)
            except queue.Full:
                continue
            return
        raise _StoppedError

    start: Item | None = None
    # Kept if an unexpected error ends the thread: the report must neither hang nor miss a segment.
    finished = _Finished(RuntimeError("A reader of the table ended early; report this."))
    try:
        while True:
            capacity.take(sleep)
            page = fetch(start)
            capacity.give_back(page["ConsumedCapacity"]["CapacityUnits"])
            put(page["Items"])
            start = page.get("LastEvaluatedKey")
            if not start:
                finished = _Finished()
                return
    except (BotoCoreError, ClientError) as error:
        finished = _Finished(error)
    except _StoppedError:
        return
    finally:
        with suppress(_StoppedError):
            put(finished)


def _segment(client: DynamoDBClient, table_name: str, number: int) -> Fetch:
    def fetch(start: Item | None) -> ScanOutputTypeDef:
        request: ScanInputTypeDef = {
            "TableName": table_name,
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
            "Segment": number,
            "TotalSegments": SEGMENTS,
        }
        if start:
            request["ExclusiveStartKey"] = start
        return client.scan(**request)

    return fetch


def _partition(client: DynamoDBClient, table_name: str, customer: str) -> Fetch:
    def fetch(start: Item | None) -> QueryOutputTypeDef:
        request: QueryInputTypeDef = {
            "TableName": table_name,
            "ConsistentRead": True,
            "ReturnConsumedCapacity": "TOTAL",
            "KeyConditionExpression": "#customer = :customer",
            "ExpressionAttributeNames": {"#customer": CUSTOMER_IDENTIFIER},
            "ExpressionAttributeValues": {":customer": {"S": customer}},
        }
        if start:
            request["ExclusiveStartKey"] = start
        return client.query(**request)

    return fetch
