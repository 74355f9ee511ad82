"""Exactly-once writes: the records of a chunk and its idempotency row in one transaction.

A row exists if and only if the records of its chunk do. A repeated request therefore finds what is stored and
writes the rest, after a lost response, a crash, or a concurrent request with the same key.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter, defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from metering_handlers.dynamodb import (
    ATTEMPT_BUDGET_MS,
    NO_ANSWER_ERRORS,
    THROTTLING_ERRORS,
    is_retryable,
    random_backoff_ms,
)
from metering_handlers.idempotency_table import Row, payload_hash
from metering_handlers.metering_table import new_item, put_new, write_units

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from metering_handlers.models import BuyerUsage

MAX_TRANSACTION_ACTIONS = 100
"""Actions in one TransactWriteItems call (Amazon DynamoDB API reference)."""
WRITE_PARALLELISM = 4
"""Concurrent transactions of one request."""
STEPS_BEFORE_LEAPING = 4
"""Collisions of a customer's timestamps that advance by 1 ms; after them the step doubles each time."""
PARTITION_WRITE_UNITS = 1_000
"""Units per second of one partition (Amazon DynamoDB Developer Guide, "Burst and adaptive capacity")."""

_CONDITION_FAILED = "ConditionalCheckFailed"
_THROTTLED = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})
_RETRYABLE = _THROTTLED | {"None", "TransactionConflict"}


class KeyReusedError(Exception):
    """The idempotency key was used for another payload."""


class IncompleteWriteError(Exception):
    """DynamoDB did not accept all records before the function's time ran out.

    Parameters
    ----------
    written : Written
        What is known to be stored.
    """

    def __init__(self, written: Written) -> None:
        super().__init__(f"Time ran out after {written.records} records.")
        self.written = written


@dataclass(frozen=True)
class Written:
    """Outcome of a write request.

    Parameters
    ----------
    create_timestamps : Sequence[int]
        ``create_timestamp`` of the stored records, in ms, in the order of the entries; chunks that are not
        stored are left out.
    chunks : int
        Transactions that the request consists of.
    inserted : int
        New records, written by this invocation.
    replayed : bool
        Whether earlier requests with this key had already written everything.
    retries : int
        Retries after throttling, a transaction conflict, or a missing response.
    throttled_chunks : int
        Chunks that DynamoDB throttled at least once.
    slots_moved : int
        Timestamps changed because another record of the customer had them.
    """

    create_timestamps: Sequence[int]
    chunks: int
    inserted: int
    replayed: bool
    retries: int
    throttled_chunks: int
    slots_moved: int

    @property
    def records(self) -> int:
        """Number of the request's records that are in the table."""
        return len(self.create_timestamps)


@dataclass(frozen=True)
class RecordWriter:
    """Writes records and idempotency rows through one DynamoDB client.

    Parameters
    ----------
    client : DynamoDBClient
        Client without retries of its own: this class retries, within the function's remaining time.
    metering_table : str
        The metering table's name.
    idempotency_table : str
        The idempotency table's name.
    remembered_hours : int
        Hours for which a key is remembered.
    """

    client: DynamoDBClient
    metering_table: str
    idempotency_table: str
    remembered_hours: int

    def write(
        self,
        usages: Sequence[BuyerUsage],
        *,
        key: str,
        request_id: str,
        request_time: int,
        remaining_ms: Callable[[], int],
    ) -> Written:
        """Add one record for each entry that no request with the same key has added; never change a record.

        Parameters
        ----------
        usages : Sequence[BuyerUsage]
            The entries, in the order they were sent.
        key : str
            The idempotency key.
        request_id : str
            Stored with each record, for tracing.
        request_time : int
            Time of the request, in ms since the epoch: ``create_timestamp`` of the first entry.
        remaining_ms : Callable[[], int]
            Returns the function's remaining time, in ms.

        Raises
        ------
        KeyReusedError
            If the key was used for other entries. Nothing was written.
        IncompleteWriteError
            If DynamoDB throttled or did not respond until too little time was left.
        botocore.exceptions.ClientError
            If DynamoDB refused for a reason that a retry does not change.
        """
        return _Write(
            self,
            usages,
            key=key,
            request_id=request_id,
            request_time=request_time,
            remaining_ms=remaining_ms,
        ).run()


class _Write:
    """State of one request."""

    def __init__(  # noqa: PLR0913 - what a request consists of
        self,
        writer: RecordWriter,
        usages: Sequence[BuyerUsage],
        *,
        key: str,
        request_id: str,
        request_time: int,
        remaining_ms: Callable[[], int],
    ) -> None:
        self._writer = writer
        self._key = key
        self._request_id = request_id
        self._remaining_ms = remaining_ms
        self._chunks = _divided(usages)
        self._payload_hash = payload_hash(self._chunks)
        # One clock reading for all chunks, so that they agree on which old rows have expired.
        self._now = request_time // 1000
        self._expiration = self._now + writer.remembered_hours * 3600
        self._request_time = request_time
        self._slots_given: defaultdict[str, int] = defaultdict(int)
        self._times_taken: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._next_start = 0.0
        self._throttled_in_a_row = 0

    def run(self) -> Written:
        # First and alone: this row reserves the key, so that no other payload can complete a partial request.
        rows = [self._write_chunk(0, self._take_slots(self._chunks[0]))]
        if (first := rows[0]) is not None and len(self._chunks) > 1:
            # All rows of a key have the same age, so that they expire together.
            self._request_time = first.request_time
            self._expiration = first.expiration
            numbers = range(1, len(self._chunks))
            slots = [self._take_slots(self._chunks[number]) for number in numbers]
            with ThreadPoolExecutor(WRITE_PARALLELISM) as pool:
                rows += pool.map(self._write_chunk, numbers, slots)
        written = Written(
            create_timestamps=[timestamp for row in rows if row for timestamp in row.create_timestamps],
            chunks=len(self._chunks),
            inserted=self._counts["inserted"],
            replayed=not self._counts["own_chunks"],
            retries=self._counts["retries"],
            throttled_chunks=self._counts["throttled_chunks"],
            slots_moved=self._counts["slots_moved"],
        )
        if len(rows) < len(self._chunks) or None in rows:
            raise IncompleteWriteError(written)
        return written

    def _take_slots(self, usages: Iterable[BuyerUsage]) -> list[int]:
        """Reserve a timestamp for each record, unique per customer within this request."""
        slots = []
        with self._lock:
            for usage in usages:
                offset = self._slots_given[usage.customerIdentifier]
                self._slots_given[usage.customerIdentifier] = offset + 1
                slots.append(self._request_time + offset)
        return slots

    def _write_chunk(self, number: int, first_slots: Sequence[int]) -> Row | None:
        """Write a chunk and its row; return the stored row, or None if the time ran out."""
        usages = self._chunks[number]
        slots = list(first_slots)
        token = str(uuid.uuid4())
        attempt = 0
        throttled_attempts = 0
        outcome_unknown = False
        if self._next_start:
            self._await_capacity(usages)
        while self._remaining_ms() > ATTEMPT_BUDGET_MS:
            row = Row(
                key=self._key,
                chunk=number,
                expiration=self._expiration,
                payload_hash=self._payload_hash,
                request_time=self._request_time,
                create_timestamps=slots,
                request_id=self._request_id,
            )
            throttled = False
            try:
                self._writer.client.transact_write_items(
                    TransactItems=self._actions(row, usages), ClientRequestToken=token
                )
            except self._writer.client.exceptions.TransactionCanceledException as error:
                row_reason, *reasons = error.response["CancellationReasons"]
                if row_reason["Code"] == _CONDITION_FAILED:
                    return self._found(Row.from_item(row_reason["Item"]), outcome_unknown=outcome_unknown)
                codes = [reason["Code"] for reason in reasons]
                if _CONDITION_FAILED in codes:
                    self._move_taken(slots, codes, usages)
                    # Changed items need a new token: DynamoDB rejects a token that was used with other items.
                    token = str(uuid.uuid4())
                    continue
                codes.append(row_reason["Code"])
                if not _RETRYABLE.issuperset(codes):
                    raise
                throttled = not _THROTTLED.isdisjoint(codes)
            except ClientError as error:
                if not is_retryable(error):
                    raise
                throttled = error.response["Error"]["Code"] in THROTTLING_ERRORS
                outcome_unknown = outcome_unknown or not throttled
            except NO_ANSWER_ERRORS:
                # The token is kept, by which DynamoDB recognizes the repeat if the first attempt was written.
                outcome_unknown = True
            else:
                self._count(inserted=len(usages), own_chunks=1, throttled_chunks=int(throttled_attempts > 0))
                self._throttled_in_a_row = 0
                return row
            self._count(retries=1)
            if throttled:
                throttled_attempts += 1
                self._throttled_in_a_row += 1
                self._await_capacity(usages)
            else:
                attempt += 1
                self._sleep(random_backoff_ms(attempt))
        self._count(throttled_chunks=int(throttled_attempts > 0))
        return None

    def _actions(self, row: Row, usages: Sequence[BuyerUsage]) -> list[TransactWriteItemTypeDef]:
        actions: list[TransactWriteItemTypeDef] = [
            {"Put": row.put(self._writer.idempotency_table, self._now)}
        ]
        for usage, slot in zip(usages, row.create_timestamps, strict=True):
            item = new_item(usage, slot, self._request_id)
            actions.append({"Put": put_new(self._writer.metering_table, item)})
        return actions

    def _found(self, row: Row, *, outcome_unknown: bool) -> Row:
        """Accept the existing row as the chunk's, if it is of the same payload."""
        if row.payload_hash != self._payload_hash:
            raise KeyReusedError
        if row.request_id == self._request_id:
            # Not a replay: either this invocation wrote it and did not get the response, or Lambda runs the
            # same event again, and the previous invocation has counted the records.
            self._count(own_chunks=1, inserted=len(row.create_timestamps) if outcome_unknown else 0)
        return row

    def _move_taken(self, slots: list[int], codes: Sequence[str], usages: Sequence[BuyerUsage]) -> None:
        """Reserve a new timestamp for each record whose timestamp is taken."""
        taken = [index for index, code in enumerate(codes) if code == _CONDITION_FAILED]
        for customer in {usages[index].customerIdentifier for index in taken}:
            self._leap(customer)
        for index, slot in zip(taken, self._take_slots(usages[index] for index in taken), strict=True):
            slots[index] = slot
        self._count(slots_moved=len(taken))

    def _leap(self, customer_identifier: str) -> None:
        """Skip a growing number of milliseconds for a customer whose timestamps keep being taken."""
        with self._lock:
            self._times_taken[customer_identifier] += 1
            doublings = self._times_taken[customer_identifier] - STEPS_BEFORE_LEAPING
            self._slots_given[customer_identifier] += (1 << max(0, doublings)) - 1

    def _await_capacity(self, usages: Sequence[BuyerUsage]) -> None:
        """Wait until the busiest partition has capacity for this chunk and for those before it.

        A cancelled transaction consumes capacity too, so retrying too early wastes what the retry waits for.
        Once throttled, a request therefore writes one chunk at a time, at the rate of one partition, and adds
        a random backoff as long as it keeps being throttled.
        """
        now = time.monotonic()
        backoff_ms = random_backoff_ms(self._throttled_in_a_row) if self._throttled_in_a_row else 0
        with self._lock:
            self._next_start = max(now, self._next_start) + _partition_seconds(usages) + backoff_ms / 1000
            start = self._next_start
        self._sleep((start - now) * 1000)

    def _sleep(self, delay_ms: float) -> None:
        time.sleep(min(delay_ms, max(0, self._remaining_ms() - ATTEMPT_BUDGET_MS)) / 1000)

    def _count(self, **events: int) -> None:
        with self._lock:
            self._counts.update(events)


def _divided(usages: Sequence[BuyerUsage]) -> list[Sequence[BuyerUsage]]:
    """Divide a request into chunks that fit into a transaction beside their row.

    The first chunk is the one that is not full, because the others wait for it.
    """
    chunk_size = MAX_TRANSACTION_ACTIONS - 1
    first_size = (len(usages) - 1) % chunk_size + 1
    rest = (usages[start : start + chunk_size] for start in range(first_size, len(usages), chunk_size))
    return [usages[:first_size], *rest]


def _partition_seconds(usages: Sequence[BuyerUsage]) -> float:
    """Return the seconds that the busiest partition needs for a chunk of a throttled request.

    Records of one customer are in one partition of the table, where a transactional write consumes two units
    per KB (Amazon DynamoDB Developer Guide, "Read and write capacity"). All records are in one partition of
    the index, at one unit per KB. A transaction that is rejected because of the index consumes nothing of it,
    so requests run a quarter faster than its rate, which uses the burst capacity saved while they waited.
    """
    index_units = 0
    customer_units: Counter[str] = Counter()
    for usage in usages:
        units = write_units(usage)
        index_units += units
        customer_units[usage.customerIdentifier] += 2 * units
    return max(index_units / 1.25, *customer_units.values()) / PARTITION_WRITE_UNITS
