"""The metering table: records are only ever added to it, and read back.

The quickstart owns the table; its attributes, and what its hourly job makes of them, decide what is written.
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.parsers import ResponseParserError

from metering_handlers.models import BuyerUsage, RecordStatus, SortOrder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import (
        AttributeValueTypeDef,
        QueryInputTypeDef,
        TransactWriteItemTypeDef,
    )

    Item = dict[str, AttributeValueTypeDef]

# The table's attributes: the quickstart's names, and one of ours for tracing.
CUSTOMER_IDENTIFIER = "customerIdentifier"
CREATE_TIMESTAMP = "create_timestamp"
DIMENSION_USAGE = "dimension_usage"
DIMENSION = "dimension"
VALUE = "value"
METERING_PENDING = "metering_pending"
METERING_FAILED = "metering_failed"
METERING_RESPONSE = "metering_response"
REQUEST_ID = "request_id"
IS_PENDING: AttributeValueTypeDef = {"S": "true"}
HAS_FAILED: AttributeValueTypeDef = {"BOOL": True}

MAX_TRANSACTION_ACTIONS = 100
"""Actions in one TransactWriteItems call (Amazon DynamoDB API reference)."""
WRITE_PARALLELISM = 4
"""Transactions of one request under way at a time."""
READ_TIMEOUT_MS = 3_000
CONNECT_TIMEOUT_MS = 1_000
ANSWER_RESERVE_MS = 1_000
"""Kept back of the function's time, to render the answer and log it."""
ATTEMPT_BUDGET_MS = CONNECT_TIMEOUT_MS + READ_TIMEOUT_MS + ANSWER_RESERVE_MS
"""What a call to DynamoDB may need at worst: with less time left, none is started."""
BACKOFF_BASE_MS = 25
BACKOFF_CAP_MS = 2_000
MAX_PAGE_BYTES = 3_000_000
"""DynamoDB answers gathered into one page; one more may add its 1 MB. Lambda's answers end at 6 MB."""

RETRYABLE_ERRORS = frozenset(
    {
        "InternalServerError",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ServiceUnavailable",
        "ThrottlingException",
        "TransactionInProgressException",
    }
)
_RETRYABLE_CANCELLATIONS = frozenset(
    {"None", "ProvisionedThroughputExceeded", "ThrottlingError", "TransactionConflict"}
)
_SLOT_TAKEN = "ConditionalCheckFailed"


@dataclass(frozen=True)
class RecordKey:
    """The primary key of a stored record; ``create_timestamp`` in ms."""

    customer_identifier: str
    create_timestamp: int


@dataclass(frozen=True)
class Inserted:
    """What an insert did.

    Parameters
    ----------
    keys : Sequence[RecordKey]
        The stored records' keys, in the order of the entries.
    retries : int
        Transactions tried again because DynamoDB throttled, met a conflict, or did not answer.
    slots_moved : int
        Times a record moved on because its millisecond was taken.
    """

    keys: Sequence[RecordKey]
    retries: int
    slots_moved: int


class IncompleteInsertError(Exception):
    """DynamoDB did not take all records before the time ran out.

    Parameters
    ----------
    inserted : int
        Records known to be stored.
    """

    def __init__(self, inserted: int) -> None:
        super().__init__(f"Time ran out after {inserted} records.")
        self.inserted = inserted


@dataclass(frozen=True)
class Page:
    """Items as DynamoDB holds them, and where the next page starts (None on the last)."""

    items: Sequence[Item]
    last_timestamp: str | None


class MeteringTable:
    """The metering table, through one DynamoDB client.

    Parameters
    ----------
    name : str
        The table's name.
    client : DynamoDBClient
        Its calls should end within ``ATTEMPT_BUDGET_MS``.
    """

    def __init__(self, name: str, client: DynamoDBClient) -> None:
        self._name = name
        self._client = client

    @classmethod
    def connect(cls, name: str, *, max_attempts: int) -> MeteringTable:
        """Make the table's own client, with its time limits, from the function's environment.

        Parameters
        ----------
        name : str
            The table's name.
        max_attempts : int
            How often the client itself tries a call. An insert takes 1: it retries by its own deadline.
        """
        config = Config(
            connect_timeout=CONNECT_TIMEOUT_MS / 1000,
            read_timeout=READ_TIMEOUT_MS / 1000,
            retries={"mode": "standard", "total_max_attempts": max_attempts},
            max_pool_connections=WRITE_PARALLELISM,
        )
        return cls(name, boto3.client("dynamodb", config=config))

    def insert(
        self,
        usages: Sequence[BuyerUsage],
        *,
        request_time: int,
        request_id: str,
        remaining_ms: Callable[[], int],
    ) -> Inserted:
        """Add one record for each entry; never change one that is there.

        Parameters
        ----------
        usages : Sequence[BuyerUsage]
            The entries, in the order they were sent.
        request_time : int
            When the request came in, in ms since the epoch: the first entry's ``create_timestamp``.
        request_id : str
            Stored with each record, for tracing.
        remaining_ms : Callable[[], int]
            Tells how many ms the function has left.

        Raises
        ------
        IncompleteInsertError
            If DynamoDB throttled or did not answer until too little time was left.
        botocore.exceptions.ClientError
            If DynamoDB refused for a reason that trying again does not change.
        """
        insertion = _Insertion(self._client, self._name, request_time, remaining_ms)
        records = [insertion.record(usage, request_id) for usage in usages]
        insertion.put(records)
        return Inserted(
            keys=[
                RecordKey(usage.customerIdentifier, int(record[CREATE_TIMESTAMP]["N"]))
                for usage, record in zip(usages, records, strict=True)
            ],
            retries=insertion.retries,
            slots_moved=insertion.slots_moved,
        )

    def query(  # noqa: PLR0913 - one for each choice a listing has
        self,
        customer_identifier: str,
        *,
        status: RecordStatus | None,
        oldest: int | None,
        newest: int | None,
        order: SortOrder,
        limit: int,
        after_timestamp: str | None,
        remaining_ms: Callable[[], int],
    ) -> Page:
        """Read one page of a customer's records, strongly consistent.

        Parameters
        ----------
        customer_identifier : str
            The customer.
        status : RecordStatus | None
            Only records of which this became.
        oldest, newest : int | None
            Only records with a ``create_timestamp`` in this range, both ends included.
        order : SortOrder
            By ``create_timestamp``.
        limit : int
            At most so many records; fewer when they are large, or when a filter reads long without a match.
        after_timestamp : str | None
            Where the page before this one ended.
        remaining_ms : Callable[[], int]
            Tells how many ms the function has left.
        """
        request = self._query_request(customer_identifier, status, oldest, newest, order)
        items: list[Item] = []
        received_bytes = 0
        while True:
            if after_timestamp is not None:
                request["ExclusiveStartKey"] = {
                    CUSTOMER_IDENTIFIER: {"S": customer_identifier},
                    CREATE_TIMESTAMP: {"N": after_timestamp},
                }
            if status is None:
                # With a filter the limit would count what the filter drops.
                request["Limit"] = limit - len(items)
            answer = self._client.query(**request)
            items += answer["Items"]
            received_bytes += int(answer["ResponseMetadata"]["HTTPHeaders"].get("content-length", 0))
            last_key = answer.get("LastEvaluatedKey")
            if len(items) > limit or (len(items) == limit and last_key):
                return Page(items[:limit], items[limit - 1][CREATE_TIMESTAMP]["N"])
            if last_key is None:
                return Page(items, None)
            after_timestamp = last_key[CREATE_TIMESTAMP]["N"]
            if received_bytes > MAX_PAGE_BYTES or remaining_ms() < ATTEMPT_BUDGET_MS:
                return Page(items, after_timestamp)

    def _query_request(
        self,
        customer_identifier: str,
        status: RecordStatus | None,
        oldest: int | None,
        newest: int | None,
        order: SortOrder,
    ) -> QueryInputTypeDef:
        names = {"#customer": CUSTOMER_IDENTIFIER}
        values: dict[str, AttributeValueTypeDef] = {":customer": {"S": customer_identifier}}
        condition = "#customer = :customer"
        if oldest is not None:
            values[":oldest"] = {"N": str(oldest)}
        if newest is not None:
            values[":newest"] = {"N": str(newest)}
        if oldest is not None and newest is not None:
            condition += " AND #created BETWEEN :oldest AND :newest"
        elif oldest is not None:
            condition += " AND #created >= :oldest"
        elif newest is not None:
            condition += " AND #created <= :newest"
        if oldest is not None or newest is not None:
            names["#created"] = CREATE_TIMESTAMP
        request: QueryInputTypeDef = {
            "TableName": self._name,
            "ConsistentRead": True,
            "ScanIndexForward": order is SortOrder.ASCENDING,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }
        if status is not None:
            names["#pending"] = METERING_PENDING
            values[":pending"] = IS_PENDING
            if status is RecordStatus.PENDING:
                request["FilterExpression"] = "#pending = :pending"
            else:
                names["#failed"] = METERING_FAILED
                values[":failed"] = HAS_FAILED
                failed = "#failed = :failed" if status is RecordStatus.FAILED else "NOT #failed = :failed"
                request["FilterExpression"] = f"NOT #pending = :pending AND {failed}"
        return request


class _Insertion:
    """One insert under way: its records' slots, and the transactions that put them there."""

    def __init__(
        self, client: DynamoDBClient, table_name: str, request_time: int, remaining_ms: Callable[[], int]
    ) -> None:
        self._client = client
        self._table_name = table_name
        self._remaining_ms = remaining_ms
        self._next_slot: defaultdict[str, int] = defaultdict(lambda: request_time)
        self._lock = threading.Lock()
        self.retries = 0
        self.slots_moved = 0

    def record(self, usage: BuyerUsage, request_id: str) -> Item:
        return {
            CUSTOMER_IDENTIFIER: {"S": usage.customerIdentifier},
            CREATE_TIMESTAMP: {"N": self._take_slot(usage.customerIdentifier)},
            METERING_PENDING: IS_PENDING,
            DIMENSION_USAGE: {
                "L": [
                    {"M": {DIMENSION: {"S": used.dimension_name}, VALUE: {"N": str(used.dimension_value)}}}
                    for used in usage.metered_dimensions
                ]
            },
            REQUEST_ID: {"S": request_id},
        }

    def put(self, records: Sequence[Item]) -> None:
        chunks = [
            records[start : start + MAX_TRANSACTION_ACTIONS]
            for start in range(0, len(records), MAX_TRANSACTION_ACTIONS)
        ]
        if len(chunks) == 1:
            inserted = self._put_chunk(chunks[0])
        else:
            with ThreadPoolExecutor(WRITE_PARALLELISM) as pool:
                inserted = sum(pool.map(self._put_chunk, chunks))
        if inserted < len(records):
            raise IncompleteInsertError(inserted)

    def _take_slot(self, customer_identifier: str) -> str:
        """Give a millisecond that no other record of this customer has in this request."""
        with self._lock:
            slot = self._next_slot[customer_identifier]
            self._next_slot[customer_identifier] = slot + 1
        return str(slot)

    def _put_chunk(self, records: Sequence[Item]) -> int:
        """Put these records in one transaction; return how many are in: all of them, or none."""
        token = str(uuid.uuid4())
        attempt = 0
        while self._remaining_ms() > ATTEMPT_BUDGET_MS:
            actions: list[TransactWriteItemTypeDef] = [
                {
                    "Put": {
                        "TableName": self._table_name,
                        "Item": record,
                        "ConditionExpression": f"attribute_not_exists({CUSTOMER_IDENTIFIER})",
                    }
                }
                for record in records
            ]
            try:
                self._client.transact_write_items(TransactItems=actions, ClientRequestToken=token)
            except self._client.exceptions.TransactionCanceledException as error:
                reasons = [reason.get("Code", "None") for reason in error.response["CancellationReasons"]]
                taken = [
                    record for record, reason in zip(records, reasons, strict=True) if reason == _SLOT_TAKEN
                ]
                if not taken and not _RETRYABLE_CANCELLATIONS.issuperset(reasons):
                    raise
                if taken:
                    self._move(taken)
                    # Other items need another token: DynamoDB refuses a token that comes with other items.
                    token = str(uuid.uuid4())
                    continue
            except ClientError as error:
                if error.response["Error"]["Code"] not in RETRYABLE_ERRORS:
                    raise
            except (BotoConnectionError, HTTPClientError, ResponseParserError):
                # The outcome is unknown. The kept token makes DynamoDB tell a repeat from a second write.
                pass
            else:
                return len(records)
            attempt += 1
            self._back_off(attempt)
        return 0

    def _move(self, records: Sequence[Item]) -> None:
        for record in records:
            record[CREATE_TIMESTAMP] = {"N": self._take_slot(record[CUSTOMER_IDENTIFIER]["S"])}
        with self._lock:
            self.slots_moved += len(records)

    def _back_off(self, attempt: int) -> None:
        """Wait a random time up to an exponential ceiling ("full jitter", AWS Architecture Blog, 2015)."""
        with self._lock:
            self.retries += 1
        ceiling_ms = min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2**attempt)
        # Spreads retries; nothing secret hangs on it.
        delay_ms = random.uniform(0, ceiling_ms)  # noqa: S311
        time.sleep(min(delay_ms, max(0, self._remaining_ms() - ATTEMPT_BUDGET_MS)) / 1000)
