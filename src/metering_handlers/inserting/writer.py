"""Writes requests exactly once: what is stored already is found, and not written again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from metering_handlers.contract.answers import DryRun, RecordKey
from metering_handlers.dynamodb import UnavailableError
from metering_handlers.inserting.chunk_writer import ChunkWriter
from metering_handlers.inserting.request_state import KeyReusedError, RequestState
from metering_handlers.inserting.rows import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from metering_handlers.contract.answers import Duplicate
    from metering_handlers.inserting.request_state import InsertRequest, Tables

WRITE_PARALLELISM = 4
"""Concurrent transactions of one request."""


class IncompleteWriteError(Exception):
    """DynamoDB did not take all of a request in time; ``written`` is what is known to be stored."""

    def __init__(self, written: Written) -> None:
        super().__init__(f"Time ran out after {written.entries} entries.")
        self.written = written


@dataclass(frozen=True)
class Written:
    """Outcome of an insert."""

    records: list[RecordKey]
    """The stored records, by customer and time."""
    duplicates: list[Duplicate]
    """The entries that were known, by customer and id."""
    entries: int
    """Entries known to be in the table, new and known."""
    chunks: int
    """Transactions that the request consists of."""
    inserted: int
    """New records, written by this invocation."""
    replayed: bool
    """Whether earlier requests with this key had already written everything."""
    resume_until: int | None
    """Time until which the rows are sure to be remembered, in s since the epoch. None if the key's first row
    was not seen: an earlier request may have written it, and its time counts."""
    retries: int
    """Retries after throttling, a transaction conflict, or a missing response."""
    throttled_chunks: int
    """Chunks that DynamoDB throttled at least once."""
    slots_moved: int
    """Timestamps changed because another record of the customer had them."""


def write(tables: Tables, request: InsertRequest) -> Written:
    """Store each entry that is not stored yet; never change a record.

    Raises KeyReusedError if the key was used for other entries (nothing was written), KeyConflictError if its
    rows are of another release or of another use of it, IncompleteWriteError if DynamoDB throttled or did not
    respond until too little time was left, and botocore's ClientError if it refused for a reason that a retry
    does not change.
    """
    state = RequestState(tables, request)
    numbers = range(len(state.chunks))
    try:
        if request.key is not None:
            # First and alone: its row reserves the key, so that no other entries can join these.
            _write_chunk(state, 0)
            if state.counts["found"]:
                state.read_stored(numbers[1:])
        if request.key is None or 0 in state.done:
            _write_chunks(state, [number for number in numbers if number not in state.done])
    except UnavailableError:
        pass
    written = _outcome(state)
    if len(state.done) < len(numbers):
        raise IncompleteWriteError(written)
    return written


def preview(tables: Tables, request: InsertRequest) -> DryRun:
    """Read which entries are known; write nothing.

    Raises KeyReusedError and KeyConflictError as :func:`write` does, and UnavailableError if DynamoDB did not
    answer in time.
    """
    state = RequestState(tables, request)
    numbers = range(len(state.chunks))
    if request.key is not None:
        state.read_stored(numbers)
    records = 0
    for number in numbers:
        if number not in state.done:
            chunk = ChunkWriter(state, number)
            chunk.read_known()
            state.done[number] = chunk.progress
            records += sum(bool(chunk.progress.to_write(piece)) for piece in chunk.progress.chunk)
    return DryRun(dry_run=True, records=records, duplicates=_duplicates(state))


def is_under_way(tables: Tables, request: InsertRequest) -> bool:
    """Return whether the request's key is remembered for these same entries."""
    state = RequestState(tables, request)
    try:
        state.read_stored([0])
    except KeyReusedError:
        return False
    return bool(state.done)


def _write_chunks(state: RequestState, numbers: Sequence[int]) -> None:
    if len(numbers) > 1:
        with ThreadPoolExecutor(WRITE_PARALLELISM) as pool:
            list(pool.map(partial(_write_chunk, state), numbers))
    else:
        for number in numbers:
            _write_chunk(state, number)


def _write_chunk(state: RequestState, number: int) -> None:
    """Write a chunk, unless there is no time."""
    try:
        progress = ChunkWriter(state, number).write()
    except UnavailableError:
        return
    state.done[number] = progress
    # What follows a chunk that was known as a whole is often known too, and a read costs less than a
    # transaction that is cancelled.
    state.reads_first = not progress.written


def _outcome(state: RequestState) -> Written:
    key, counts, chunks = state.request.key, state.counts, state.done.values()
    records = [
        RecordKey(customerIdentifier=piece.customer, create_timestamp=progress.slots[piece])
        for progress in chunks
        for piece in progress.written
    ]
    # No earlier request can have had this one's own id as its key. Where all entries have ids, some may be
    # known from long before, so no more is promised than for a key.
    is_expiry_known = 0 in state.done or key in {None, state.request.request_id}
    return Written(
        records=sorted(records, key=lambda each: (each["customerIdentifier"], each["create_timestamp"])),
        duplicates=_duplicates(state),
        entries=sum(entry.sent for progress in chunks for piece in progress.chunk for entry in piece.entries),
        chunks=len(state.chunks),
        inserted=counts["inserted"],
        replayed=key is not None and not counts["own_chunks"],
        resume_until=state.expires_at - GRACE_SECONDS if is_expiry_known else None,
        retries=counts["retries"],
        throttled_chunks=counts["throttled_chunks"],
        slots_moved=counts["slots_moved"],
    )


def _duplicates(state: RequestState) -> list[Duplicate]:
    duplicates = [each for progress in state.done.values() for each in progress.known.values()]
    return sorted(duplicates, key=lambda each: (each["customerIdentifier"], each["transaction_id"]))
