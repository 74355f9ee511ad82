"""The metering table read from end to end, in parallel, no faster than the seller allows."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from metering_handlers.table_attributes import CUSTOMER_IDENTIFIER

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        QueryInputTypeDef,
        QueryOutputTypeDef,
        ScanInputTypeDef,
        ScanOutputTypeDef,
    )

    from metering_handlers.metering_table import Item

    Page = QueryOutputTypeDef | ScanOutputTypeDef
    Fetch = Callable[["Item | None"], Page]

SEGMENTS = 4
"""Scans side by side: enough to use one CPU, which is busy with what they return."""
MAX_PAGE_UNITS = 256
"""Read capacity units of the largest page: 1 MB, in units of 4 KB, strongly consistent
(DynamoDB Developer Guide, "Read consistency" and "Scanning tables")."""

_POLL_SECONDS = 0.05


class ReadCapacity:
    """A bound on the read capacity units consumed in a second, for all threads together.

    What a page costs is known only once it is there, so each call takes the most that a page can cost
    beforehand, and gives back what it did not use. Each call waits until everything taken is paid off.

    Parameters
    ----------
    units_per_second : float
        Read capacity units a second, in the long run.
    clock : callable
        A monotonic clock, in seconds.
    """

    def __init__(self, units_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._units_per_second = units_per_second
        self._clock = clock
        self._paid_off_at = clock()
        self._lock = threading.Lock()

    def take(self, sleep: Callable[[float], object]) -> None:
        """Take a page's units, after waiting until those taken before are paid off.

        Parameters
        ----------
        sleep : callable
            Waits for some seconds. It may raise an exception, which passes.
        """
        while True:
            with self._lock:
                now = self._clock()
                if self._paid_off_at <= now:
                    self._paid_off_at = now + MAX_PAGE_UNITS / self._units_per_second
                    return
                wait = self._paid_off_at - now
            # In small steps: another thread may give units back.
            sleep(min(wait, _POLL_SECONDS))

    def give_back(self, consumed_units: float) -> None:
        """Return what a call did not consume of the units it took."""
        with self._lock:
            self._paid_off_at -= (MAX_PAGE_UNITS - consumed_units) / self._units_per_second


class _StoppedError(Exception):
    """Nobody wants further pages."""


@dataclass(frozen=True)
class _Finished:
    """The last word of a reader: what has stopped it, if it is not the end."""

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
        What bounds the reads.

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
    Closing the generator stops the reads: none is begun any more, and those under way are not waited for.
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
    """Put one segment's pages into the queue, and then that it is finished."""

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
    # Said if a mistake in here ends the thread: the report must not wait for ever, nor leave a segment out.
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
