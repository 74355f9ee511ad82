"""Exactly-once writes: the records of a chunk, its entries' rows and its request's row in one transaction.

A row exists if and only if the records of its chunk do. A repeated request therefore finds what is stored and
writes the rest, after a lost response, a crash, or a concurrent request with the same key or entries.
"""

from __future__ import annotations

import random
import threading
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from metering_handlers.contract.row_ids import entry_row_id, request_row_id
from metering_handlers.dynamodb import (
    ATTEMPT_BUDGET_MS,
    NO_ANSWER_ERRORS,
    THROTTLING_ERRORS,
    UnavailableError,
    is_retryable,
    random_backoff_ms,
)
from metering_handlers.inserting.canonical_form import (
    DIGEST_VERSION,
    CanonicalEntry,
    added_up,
    request_digest,
)
from metering_handlers.inserting.division import DIVISION_VERSION, Piece, divided
from metering_handlers.inserting.pacing import Pace
from metering_handlers.inserting.progress import Progress
from metering_handlers.inserting.records import put_record
from metering_handlers.inserting.rows import (
    GRACE_SECONDS,
    EntryRow,
    RequestRow,
    read_rows,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TransactWriteItemTypeDef

    from metering_handlers.contract.answers import Duplicate, RecordKey
    from metering_handlers.inserting.rows import Item

    Target = RequestRow | Piece | CanonicalEntry
    """What an action of a transaction puts: the request's row, a piece's record, or an entry's row."""

WRITE_PARALLELISM = 4
"""Concurrent transactions of one request."""
MAX_AHEAD_MS = 10_000
"""Longest time from a request's to the ``create_timestamp`` of a record it writes."""
MAX_STEP_MS = 50
"""Longest step of a record whose timestamp is taken; random, so that two requests do not stay in step."""

_CONDITION_FAILED = "ConditionalCheckFailed"
_THROTTLED = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})
_RETRYABLE = _THROTTLED | {"None", "TransactionConflict"}
_SECONDS_PER_DAY = 86_400


class KeyReusedError(Exception):
    """The idempotency key was used for other entries."""


class KeyConflictError(Exception):
    """The key's rows do not describe this request's chunks; the message says why."""


class IncompleteWriteError(Exception):
    """DynamoDB did not accept all records before the function's time ran out.

    Attributes
    ----------
    written : Written
        What is known to be stored.
    """

    def __init__(self, written: Written) -> None:
        super().__init__(f"Time ran out after {written.entries} entries.")
        self.written = written


@dataclass(frozen=True)
class InsertRequest:
    """A request to insert usage.

    Attributes
    ----------
    entries : Sequence[CanonicalEntry]
        Its canonical form.
    key : str | None
        The idempotency key; None if the request has no rows, because all its entries have ids.
    request_id : str
        Stored with each record, for tracing.
    time_ms : int
        Time of the request, in ms since the epoch.
    remaining_ms : Callable[[], int]
        Returns the function's remaining time, in ms.
    """

    entries: Sequence[CanonicalEntry]
    key: str | None
    request_id: str
    time_ms: int
    remaining_ms: Callable[[], int]


@dataclass(frozen=True)
class Written:
    """Outcome of an insert.

    Attributes
    ----------
    records : list[RecordKey]
        The stored records, by customer and time.
    duplicates : list[Duplicate]
        The entries that were known, by customer and id.
    entries : int
        Entries known to be in the table, new and known.
    chunks : int
        Transactions that the request consists of.
    inserted : int
        New records, written by this invocation.
    replayed : bool
        Whether earlier requests with this key had already written everything.
    resume_until : int | None
        Time until which the rows are sure to be remembered, in s since the epoch. None if the key's first row
        was not seen: an earlier request may have written it, and its time counts.
    retries : int
        Retries after throttling, a transaction conflict, or a missing response.
    throttled_chunks : int
        Chunks that DynamoDB throttled at least once.
    slots_moved : int
        Timestamps changed because another record of the customer had them.
    """

    records: list[RecordKey]
    duplicates: list[Duplicate]
    entries: int
    chunks: int
    inserted: int
    replayed: bool
    resume_until: int | None
    retries: int
    throttled_chunks: int
    slots_moved: int


@dataclass(frozen=True)
class Preview:
    """What an insert would write now.

    Attributes
    ----------
    records : int
        New records.
    duplicates : list[Duplicate]
        The entries that are known.
    """

    records: int
    duplicates: list[Duplicate]


@dataclass(frozen=True)
class Writer:
    """Writes records and rows through one DynamoDB client.

    Attributes
    ----------
    client : DynamoDBClient
        Client without retries of its own: this class retries, within the function's remaining time.
    metering_table, idempotency_table : str
        The tables' names.
    idempotency_hours : int
        Hours for which an idempotency key is remembered.
    transaction_id_days : int
        Days for which an entry's id is remembered.
    """

    client: DynamoDBClient
    metering_table: str
    idempotency_table: str
    idempotency_hours: int
    transaction_id_days: int

    def write(self, request: InsertRequest) -> Written:
        """Store each entry that is not stored yet; never change a record.

        Raises
        ------
        KeyReusedError
            If the key was used for other entries. Nothing was written.
        KeyConflictError
            If the key's rows are of another release, or of another use of the key.
        IncompleteWriteError
            If DynamoDB throttled or did not respond until too little time was left.
        botocore.exceptions.ClientError
            If DynamoDB refused for a reason that a retry does not change.
        """
        return _Insert(self, request).run()

    def preview(self, request: InsertRequest) -> Preview:
        """Read which entries are known; write nothing.

        Raises
        ------
        KeyReusedError, KeyConflictError
            As :meth:`write` would.
        UnavailableError
            If DynamoDB did not answer in time.
        """
        return _Insert(self, request).preview()

    def is_under_way(self, request: InsertRequest) -> bool:
        """Return whether the request's key is remembered for these same entries."""
        return _Insert(self, request).is_under_way()


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Why a transaction was not written, or is not known to be.

    Attributes
    ----------
    is_final : bool
        Whether DynamoDB cancelled it. If not, it is repeated with its token and its items, by which DynamoDB
        recognizes it if it was written; after a cancellation the token is new, since the items may change.
    is_throttling, is_unknown : bool
        Whether DynamoDB had no capacity for it; whether it may have been written.
    conditions : Sequence[tuple[Target, Item | None]]
        What could not be put, and for the request's row the one that is there.
    """

    is_final: bool = False
    is_throttling: bool = False
    is_unknown: bool = False
    conditions: Sequence[tuple[Target, Item | None]] = ()


class _Insert:
    """State of one request."""

    def __init__(self, writer: Writer, request: InsertRequest) -> None:
        self._writer = writer
        self._request = request
        self._chunks = divided(request.entries, has_rows=request.key is not None)
        self._digest = "" if request.key is None else request_digest(request.entries)
        # One reading of the clock decides for the whole request which rows have expired.
        self._now = request.time_ms // 1000
        self._entries_expire_at = self._now + writer.transaction_id_days * _SECONDS_PER_DAY + GRACE_SECONDS
        # All rows of one use of a key expire together, by the time of its first row.
        self._expires_at = self._now + writer.idempotency_hours * 3600 + GRACE_SECONDS
        self._reads_first = False
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._pace = Pace(request.remaining_ms)

    def run(self) -> Written:
        done: dict[int, Progress] = {}
        try:
            missing = list(range(len(self._chunks)))
            if self._request.key is not None:
                # First and alone: its row reserves the key, so that no other entries can join these.
                done |= self._write_chunks(missing[:1])
                missing = missing[1:] if done else []
                if missing and self._counts["found"]:
                    done |= self._read_stored(missing)
                    missing = [number for number in missing if number not in done]
            done |= self._write_chunks(missing)
        except UnavailableError:
            pass
        written = self._written(done)
        if len(done) < len(self._chunks):
            raise IncompleteWriteError(written)
        return written

    def preview(self) -> Preview:
        numbers = range(len(self._chunks))
        done = {} if self._request.key is None else self._read_stored(numbers)
        records = 0
        duplicates: list[Duplicate] = []
        for number in numbers:
            progress = done.get(number)
            if progress is None:
                progress = self._new_progress(number)
                self._read_entry_rows(number, progress)
                records += sum(bool(progress.to_write(piece)) for piece in progress.chunk)
            duplicates += progress.duplicates
        return Preview(records, _sorted_duplicates(duplicates))

    def is_under_way(self) -> bool:
        try:
            return bool(self._read_stored([0]))
        except KeyReusedError:
            return False

    def _written(self, done: dict[int, Progress]) -> Written:
        is_keyed = self._request.key is not None
        records = [key for progress in done.values() for key in progress.record_keys]
        # No earlier request can have had this one's own id as its key. Where all entries have ids, some may
        # be known from long before, so no more is promised than for a key.
        is_expiry_known = 0 in done or self._request.key in {None, self._request.request_id}
        return Written(
            records=sorted(records, key=lambda key: (key["customerIdentifier"], key["create_timestamp"])),
            duplicates=_sorted_duplicates(
                [each for progress in done.values() for each in progress.duplicates]
            ),
            entries=sum(progress.entries_sent for progress in done.values()),
            chunks=len(self._chunks),
            inserted=self._counts["inserted"],
            replayed=is_keyed and not self._counts["own_chunks"],
            resume_until=self._expires_at - GRACE_SECONDS if is_expiry_known else None,
            retries=self._counts["retries"],
            throttled_chunks=self._counts["throttled_chunks"],
            slots_moved=self._counts["slots_moved"],
        )

    # Reading what is stored.

    def _read_stored(self, numbers: Sequence[int]) -> dict[int, Progress]:
        """Read the request's rows; return the progress of the chunks that are stored."""
        rows = self._read([request_row_id(str(self._request.key), number) for number in numbers])
        found = [RequestRow.from_item(item) for item in rows.values()]
        # The first row decides by which time the others are judged.
        found.sort(key=lambda row: row.chunk)
        if 0 in numbers and not (found and found[0].chunk == 0 and self._counts_as_present(found[0])):
            return {}
        done: dict[int, Progress] = {}
        for row in found:
            if self._counts_as_present(row):
                done[row.chunk] = self._stored(row)
        return done

    def _read_entry_rows(
        self, number: int, progress: Progress, *, outcome_unknown: bool = False
    ) -> Progress | None:
        """Note which entries of a chunk are known; return its stored progress if its own row is there."""
        entries = {
            entry_row_id(entry.customer, entry.transaction_id): entry
            for piece in progress.chunk
            for entry in piece.entries
            if entry.transaction_id is not None
        }
        row_ids = list(entries)
        if self._request.key is not None:
            row_ids.append(request_row_id(self._request.key, number))
        known: dict[CanonicalEntry, EntryRow] = {}
        for row_id, item in self._read(row_ids).items():
            if row_id in entries:
                row = EntryRow.from_item(item)
                if row.is_known(self._now):
                    known[entries[row_id]] = row
            elif self._counts_as_present(stored := RequestRow.from_item(item)):
                return self._stored(stored, outcome_unknown=outcome_unknown)
        progress.note(known, self._request.request_id)
        return None

    def _read(self, row_ids: Sequence[str]) -> dict[str, Item]:
        writer = self._writer
        return read_rows(writer.client, writer.idempotency_table, row_ids, self._request.remaining_ms)

    def _counts_as_present(self, row: RequestRow) -> bool:
        """Return whether a row counts: only the first row's expiry is compared with a clock."""
        return row.expires_at >= (self._now if row.chunk == 0 else self._expires_at)

    def _stored(self, row: RequestRow, *, outcome_unknown: bool = False) -> Progress:
        """Accept an existing row as that of this request's chunk, and return what it says."""
        if row.chunk > 0 and row.expires_at > self._expires_at:
            raise KeyConflictError("it has expired, and was used again meanwhile")
        # A dry run may see another request's later rows, which were not there when it read the first.
        if row.digest_version == DIGEST_VERSION and row.digest != self._digest:
            raise KeyReusedError
        if (row.digest_version, row.division) != (DIGEST_VERSION, DIVISION_VERSION):
            raise KeyConflictError("its rows were written by another release of this API")
        if row.chunk == 0:
            self._expires_at = row.expires_at
        progress = Progress.from_bytes(self._chunks[row.chunk], row.result, row.request_time)
        self._count(found=1)
        if row.request_id == self._request.request_id:
            # Not a replay: either this invocation wrote it and did not get the response, or Lambda runs the
            # same event again, and the previous invocation has counted the records.
            self._count(own_chunks=1, inserted=len(progress.written) if outcome_unknown else 0)
        return progress

    # Writing one chunk.

    def _write_chunks(self, numbers: Sequence[int]) -> dict[int, Progress]:
        """Write chunks; those for which there was no time are left out."""
        if len(numbers) > 1:
            with ThreadPoolExecutor(WRITE_PARALLELISM) as pool:
                results = list(pool.map(self._write_chunk, numbers))
        else:
            results = [self._write_chunk(number) for number in numbers]
        return {number: progress for number, progress in zip(numbers, results, strict=True) if progress}

    def _write_chunk(self, number: int) -> Progress | None:
        """Write a chunk; return None if the time ran out."""
        try:
            progress = self._written_chunk(number)
        except UnavailableError:
            return None
        # What follows a chunk that was known as a whole is often known too, and a read costs less than a
        # transaction that is cancelled.
        self._reads_first = not progress.written
        return progress

    def _written_chunk(self, number: int) -> Progress:
        progress = self._new_progress(number)
        if self._reads_first and (stored := self._read_entry_rows(number, progress)):
            return stored
        self._pace.start(progress)
        token = str(uuid.uuid4())
        failures: Counter[str] = Counter()
        outcome_unknown = False
        while self._request.remaining_ms() > ATTEMPT_BUDGET_MS:
            actions = self._actions(number, progress)
            if not actions:
                # A request without rows, whose entries here are all in the table.
                self._count(inserted=len(progress.written) if outcome_unknown else 0)
                return progress
            failure = self._send(actions, token)
            if failure is None:
                written = sum(isinstance(target, Piece) for target, _ in actions)
                self._count(inserted=written, own_chunks=1, throttled_chunks=int(failures["throttled"] > 0))
                self._pace.written()
                return progress
            if failure.is_final:
                token = str(uuid.uuid4())
            if failure.conditions:
                stored = self._resolve(number, progress, failure.conditions, outcome_unknown=outcome_unknown)
                if stored:
                    return stored
                # What was known is left out at once; whoever collides again makes room for the others.
                if failures["conditions"]:
                    self._pace.sleep(random_backoff_ms(failures["conditions"]))
                failures["conditions"] += 1
                continue
            outcome_unknown = outcome_unknown or failure.is_unknown
            self._count(retries=1)
            if failure.is_throttling:
                failures["throttled"] += 1
                self._pace.throttled(progress)
            else:
                failures["other"] += 1
                self._pace.sleep(random_backoff_ms(failures["other"]))
        self._count(throttled_chunks=int(failures["throttled"] > 0))
        raise UnavailableError

    def _send(
        self, actions: Sequence[tuple[Target, TransactWriteItemTypeDef]], token: str
    ) -> _Failure | None:
        """Try a transaction once; return why it failed, or None if it was written."""
        client = self._writer.client
        try:
            client.transact_write_items(
                TransactItems=[action for _, action in actions], ClientRequestToken=token
            )
        except client.exceptions.TransactionCanceledException as error:
            reasons = error.response["CancellationReasons"]
            codes = {reason["Code"] for reason in reasons}
            conditions = [
                (target, cast("Item | None", reason.get("Item")))
                for (target, _), reason in zip(actions, reasons, strict=True)
                if reason["Code"] == _CONDITION_FAILED
            ]
            if not conditions and not _RETRYABLE.issuperset(codes):
                raise
            return _Failure(
                is_final=True, is_throttling=not _THROTTLED.isdisjoint(codes), conditions=conditions
            )
        except ClientError as error:
            if not is_retryable(error):
                raise
            is_throttling = error.response["Error"]["Code"] in THROTTLING_ERRORS
            return _Failure(is_throttling=is_throttling, is_unknown=not is_throttling)
        except NO_ANSWER_ERRORS:
            return _Failure(is_unknown=True)
        return None

    def _new_progress(self, number: int) -> Progress:
        chunk = self._chunks[number]
        return Progress(chunk, {piece: self._request.time_ms + piece.number for piece in chunk})

    def _actions(self, number: int, progress: Progress) -> list[tuple[Target, TransactWriteItemTypeDef]]:
        """Create the actions of a chunk's transaction, each with what it puts."""
        request, writer = self._request, self._writer
        actions: list[tuple[Target, TransactWriteItemTypeDef]] = []
        if request.key is not None:
            # Also if all entries are known: the row says that the chunk is done.
            row = RequestRow(
                key=request.key,
                chunk=number,
                digest=self._digest,
                request_time=request.time_ms,
                result=progress.to_bytes(request.time_ms),
                request_id=request.request_id,
                expires_at=self._expires_at,
            )
            put = row.put(writer.idempotency_table, self._now if number == 0 else self._expires_at)
            actions.append((row, {"Put": put}))
        for piece in progress.chunk:
            if not (entries := progress.to_write(piece)):
                continue
            slot = progress.slots[piece]
            put = put_record(
                writer.metering_table, piece.customer, slot, added_up(entries), request.request_id
            )
            actions.append((piece, {"Put": put}))
            for entry in entries:
                if entry.transaction_id is None:
                    continue
                entry_row = EntryRow(
                    row_id=entry_row_id(entry.customer, entry.transaction_id),
                    customer=entry.customer,
                    digest=entry.digest,
                    create_timestamp=slot,
                    request_id=request.request_id,
                    expires_at=self._entries_expire_at,
                )
                actions.append((entry, {"Put": entry_row.put(writer.idempotency_table, self._now)}))
        return actions

    def _resolve(
        self,
        number: int,
        progress: Progress,
        failed: Sequence[tuple[Target, Item | None]],
        *,
        outcome_unknown: bool,
    ) -> Progress | None:
        """Change what made conditions fail; return the chunk's stored progress if its row is there.

        DynamoDB need not name all conditions that failed; each further attempt names another one.
        """
        for target, item in failed:
            if isinstance(target, RequestRow) and item:
                return self._stored(RequestRow.from_item(item), outcome_unknown=outcome_unknown)
        for target, _ in failed:
            if isinstance(target, Piece):
                self._move(progress, target)
        if any(isinstance(target, CanonicalEntry) for target, _ in failed):
            return self._read_entry_rows(number, progress, outcome_unknown=outcome_unknown)
        return None

    def _move(self, progress: Progress, piece: Piece) -> None:
        """Move a record whose timestamp another one of the customer has."""
        # Not used for security: it only spreads records.
        slot = progress.slots[piece] + random.randint(1, MAX_STEP_MS)  # noqa: S311
        if slot > self._request.time_ms + MAX_AHEAD_MS:
            raise UnavailableError
        progress.slots[piece] = slot
        self._count(slots_moved=1)

    def _count(self, **events: int) -> None:
        with self._lock:
            self._counts.update(events)


def _sorted_duplicates(duplicates: Iterable[Duplicate]) -> list[Duplicate]:
    return sorted(duplicates, key=lambda each: (each["customerIdentifier"], each["transaction_id"]))
