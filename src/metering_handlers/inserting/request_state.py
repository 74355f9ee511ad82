"""A request that is being written: what its chunks share, and its rows in the idempotency table."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.contract import attributes as names
from metering_handlers.contract.row_ids import request_row_id
from metering_handlers.dynamodb import read_items
from metering_handlers.inserting.canonical_form import request_digest
from metering_handlers.inserting.division import DIVISION_VERSION, divided
from metering_handlers.inserting.pacing import Pace
from metering_handlers.inserting.progress import Progress
from metering_handlers.inserting.rows import GRACE_SECONDS, put_row

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, PutTypeDef

    from metering_handlers.dynamodb import Item
    from metering_handlers.inserting.canonical_form import CanonicalEntry


class KeyReusedError(Exception):
    """The idempotency key was used for other entries."""


class KeyConflictError(Exception):
    """The key's rows do not describe this request's chunks; the message says why."""


@dataclass(frozen=True)
class Tables:
    """The two tables, and for how long the idempotency table remembers.

    ``client`` makes no retries of its own: writer and readers retry, within the function's remaining time.
    """

    client: DynamoDBClient
    metering_table: str
    idempotency_table: str
    idempotency_hours: int
    transaction_id_days: int


@dataclass(frozen=True)
class InsertRequest:
    """A request to insert usage."""

    entries: Sequence[CanonicalEntry]
    """Its canonical form."""
    key: str | None
    """The idempotency key; None if the request has no rows, because all its entries have ids."""
    request_id: str
    """Stored with each record, for tracing."""
    time_ms: int
    """When API Gateway received it, in ms since the epoch."""
    remaining_ms: Callable[[], int]
    """Returns the function's remaining time, in ms."""

    @property
    def time_s(self) -> int:
        """The one time by which the whole request decides which rows have expired, in s since the epoch."""
        return self.time_ms // 1000


class RequestState:
    """What the chunks of one request share."""

    def __init__(self, tables: Tables, request: InsertRequest) -> None:
        self.tables = tables
        self.request = request
        self.chunks = divided(request.entries, has_rows=request.key is not None)
        self.done: dict[int, Progress] = {}
        """Progress of the chunks that are stored, by their numbers."""
        self.pace = Pace(request.remaining_ms)
        self.reads_first = False
        """Whether to read a chunk's rows before writing it."""
        self.expires_at = request.time_s + tables.idempotency_hours * 3600 + GRACE_SECONDS
        """When the request's rows expire: all of one use of a key together, by the time of its first row."""
        self.entries_expire_at = request.time_s + tables.transaction_id_days * 86_400 + GRACE_SECONDS
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._digest = "" if request.key is None else request_digest(request.entries)

    def count(self, **events: int) -> None:
        """Add to ``counts``, from any thread."""
        with self._lock:
            self.counts.update(events)

    def read_rows(self, row_ids: Sequence[str]) -> dict[str, Item]:
        """Read rows of the idempotency table, by id."""
        tables = self.tables
        remaining_ms = self.request.remaining_ms
        return read_items(tables.client, tables.idempotency_table, names.ROW_ID, row_ids, remaining_ms)

    def read_stored(self, numbers: Sequence[int]) -> None:
        """Find which of these chunks are stored, by the request's rows; ``numbers`` are in order."""
        row_ids = [request_row_id(str(self.request.key), number) for number in numbers]
        items = self.read_rows(row_ids)
        for number, row_id in zip(numbers, row_ids, strict=True):
            progress = self.accept(number, items[row_id]) if row_id in items else None
            if progress:
                self.done[number] = progress
            elif number == 0:
                # The first row decides by which time the others are judged.
                break

    def put_request_row(self, number: int, progress: Progress) -> PutTypeDef:
        """Create the action that puts a chunk's row; it fails with the row there, if :meth:`accept` takes it.

        Only the first row's expiry is compared with a clock.
        """
        request = self.request
        item: dict[str, AttributeValueTypeDef] = {
            names.ROW_ID: {"S": request_row_id(str(request.key), number)},
            names.DIGEST: {"S": self._digest},
            names.DIVISION: {"N": str(DIVISION_VERSION)},
            names.REQUEST_TIME: {"N": str(request.time_ms)},
            names.RESULT: {"B": progress.to_bytes(request.time_ms)},
            names.REQUEST_ID: {"S": request.request_id},
        }
        expired_before = request.time_s if number == 0 else self.expires_at
        put = put_row(self.tables.idempotency_table, item, self.expires_at, expired_before)
        put["ReturnValuesOnConditionCheckFailure"] = "ALL_OLD"
        return put

    def accept(self, number: int, item: Item, *, outcome_unknown: bool = False) -> Progress | None:
        """Return what an existing row says of its chunk; None if it has expired and counts as absent.

        ``outcome_unknown`` says that this invocation has sent the chunk without getting an answer. Raises
        KeyReusedError if the row is of other entries, and KeyConflictError if another release wrote it, or a
        later use of the key.
        """
        digest, expires_at = item[names.DIGEST]["S"], int(item[names.EXPIRES_AT]["N"])
        if expires_at < (self.request.time_s if number == 0 else self.expires_at):
            return None
        if number > 0 and expires_at > self.expires_at:
            raise KeyConflictError("it has expired, and was used again meanwhile")
        # Digests of two versions cannot be compared.
        is_same_version = digest.partition(":")[0] == self._digest.partition(":")[0]
        # A dry run may see another request's later rows, which were not there when it read the first.
        if is_same_version and digest != self._digest:
            raise KeyReusedError
        if not is_same_version or int(item[names.DIVISION]["N"]) != DIVISION_VERSION:
            raise KeyConflictError("its rows were written by another release of this API")
        if number == 0:
            self.expires_at = expires_at
        request_time = int(item[names.REQUEST_TIME]["N"])
        progress = Progress.from_bytes(self.chunks[number], item[names.RESULT]["B"], request_time)
        self.count(found=1)
        if item[names.REQUEST_ID]["S"] == self.request.request_id:
            # Not a replay: either this invocation wrote it and did not get the response, or Lambda runs the
            # same event again, and the previous invocation has counted the records.
            self.count(own_chunks=1, inserted=len(progress.written) if outcome_unknown else 0)
        return progress
