"""A request that is being written: what its chunks share, and its rows in the idempotency table."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.contract.attributes import ROW_ID
from metering_handlers.contract.row_ids import request_row_id
from metering_handlers.dynamodb import read_items
from metering_handlers.inserting.canonical_form import digest_version, request_digest
from metering_handlers.inserting.division import DIVISION_VERSION, divided
from metering_handlers.inserting.pacing import Pace
from metering_handlers.inserting.progress import Progress
from metering_handlers.inserting.rows import GRACE_SECONDS, RequestRow

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import PutTypeDef

    from metering_handlers.dynamodb import Item
    from metering_handlers.inserting.canonical_form import CanonicalEntry

_SECONDS_PER_DAY = 86_400


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
        self.pace = Pace(request.remaining_ms)
        self.reads_first = False
        """Whether to read a chunk's rows before writing it."""
        self.expires_at = request.time_s + tables.idempotency_hours * 3600 + GRACE_SECONDS
        """When the request's rows expire: all of one use of a key together, by the time of its first row."""
        self.entries_expire_at = (
            request.time_s + tables.transaction_id_days * _SECONDS_PER_DAY + GRACE_SECONDS
        )
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
        return read_items(tables.client, tables.idempotency_table, ROW_ID, row_ids, self.request.remaining_ms)

    def read_stored(self, numbers: Sequence[int]) -> dict[int, Progress]:
        """Read the request's rows; return the progress of the chunks that are stored."""
        items = self.read_rows([request_row_id(str(self.request.key), number) for number in numbers])
        rows = {row.chunk: row for row in map(RequestRow.from_item, items.values())}
        done: dict[int, Progress] = {}
        # In order: the first row decides by which time the others are judged.
        for number in sorted(numbers):
            progress = self.accept(rows[number]) if number in rows else None
            if progress:
                done[number] = progress
            elif number == 0:
                break
        return done

    def put_row(self, number: int, progress: Progress) -> PutTypeDef:
        """Create the action that puts a chunk's row; it fails if there is one that :meth:`accept` takes.

        Only the first row's expiry is compared with a clock.
        """
        request = self.request
        row = RequestRow(
            key=str(request.key),
            chunk=number,
            digest=self._digest,
            division=DIVISION_VERSION,
            request_time=request.time_ms,
            result=progress.to_bytes(request.time_ms),
            request_id=request.request_id,
            expires_at=self.expires_at,
        )
        return row.put(self.tables.idempotency_table, request.time_s if number == 0 else self.expires_at)

    def accept(self, row: RequestRow, *, outcome_unknown: bool = False) -> Progress | None:
        """Return what an existing row says of its chunk; None if it has expired and counts as absent.

        ``outcome_unknown`` says that this invocation has sent the chunk without getting an answer.

        Raises
        ------
        KeyReusedError
            If it is of other entries.
        KeyConflictError
            If another release wrote it, or a later use of the key.
        """
        if row.expires_at < (self.request.time_s if row.chunk == 0 else self.expires_at):
            return None
        if row.chunk > 0 and row.expires_at > self.expires_at:
            raise KeyConflictError("it has expired, and was used again meanwhile")
        is_same_version = digest_version(row.digest) == digest_version(self._digest)
        # A dry run may see another request's later rows, which were not there when it read the first.
        if is_same_version and row.digest != self._digest:
            raise KeyReusedError
        if not is_same_version or row.division != DIVISION_VERSION:
            raise KeyConflictError("its rows were written by another release of this API")
        if row.chunk == 0:
            self.expires_at = row.expires_at
        progress = Progress.from_bytes(self.chunks[row.chunk], row.result, row.request_time)
        self.count(found=1)
        if row.request_id == self.request.request_id:
            # Not a replay: either this invocation wrote it and did not get the response, or Lambda runs the
            # same event again, and the previous invocation has counted the records.
            self.count(own_chunks=1, inserted=len(progress.written) if outcome_unknown else 0)
        return progress
