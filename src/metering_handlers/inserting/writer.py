"""Writes requests exactly once: what is stored already is found, and not written again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.dynamodb import UnavailableError
from metering_handlers.inserting.chunk_writer import ChunkWriter
from metering_handlers.inserting.request_state import KeyReusedError, RequestState
from metering_handlers.inserting.rows import GRACE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from metering_handlers.contract.answers import Duplicate, RecordKey
    from metering_handlers.inserting.progress import Progress
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


@dataclass(frozen=True)
class Preview:
    """What an insert would write now: new records; and which entries are known."""

    records: int
    duplicates: list[Duplicate]


def write(tables: Tables, request: InsertRequest) -> Written:
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
    state = RequestState(tables, request)
    done: dict[int, Progress] = {}
    try:
        missing = list(range(len(state.chunks)))
        if request.key is not None:
            # First and alone: its row reserves the key, so that no other entries can join these.
            done |= _write_chunks(state, missing[:1])
            missing = missing[1:] if done else []
            if missing and state.counts["found"]:
                done |= state.read_stored(missing)
                missing = [number for number in missing if number not in done]
        done |= _write_chunks(state, missing)
    except UnavailableError:
        pass
    written = _outcome(state, done)
    if len(done) < len(state.chunks):
        raise IncompleteWriteError(written)
    return written


def preview(tables: Tables, request: InsertRequest) -> Preview:
    """Read which entries are known; write nothing.

    Raises
    ------
    KeyReusedError, KeyConflictError
        As :func:`write` would.
    UnavailableError
        If DynamoDB did not answer in time.
    """
    state = RequestState(tables, request)
    numbers = range(len(state.chunks))
    done = {} if request.key is None else state.read_stored(numbers)
    records = 0
    for number in numbers:
        if number in done:
            continue
        chunk = ChunkWriter(state, number)
        chunk.read_known()
        done[number] = chunk.progress
        records += sum(bool(chunk.progress.to_write(piece)) for piece in chunk.progress.chunk)
    return Preview(records, _duplicates(done.values()))


def is_under_way(tables: Tables, request: InsertRequest) -> bool:
    """Return whether the request's key is remembered for these same entries."""
    try:
        return bool(RequestState(tables, request).read_stored([0]))
    except KeyReusedError:
        return False


def _write_chunks(state: RequestState, numbers: Sequence[int]) -> dict[int, Progress]:
    """Write chunks; those for which there was no time are left out."""

    def write_chunk(number: int) -> Progress | None:
        try:
            progress = ChunkWriter(state, number).write()
        except UnavailableError:
            return None
        # What follows a chunk that was known as a whole is often known too, and a read costs less than a
        # transaction that is cancelled.
        state.reads_first = not progress.written
        return progress

    if len(numbers) > 1:
        with ThreadPoolExecutor(WRITE_PARALLELISM) as pool:
            results = list(pool.map(write_chunk, numbers))
    else:
        results = [write_chunk(number) for number in numbers]
    return {number: progress for number, progress in zip(numbers, results, strict=True) if progress}


def _outcome(state: RequestState, done: dict[int, Progress]) -> Written:
    key, counts = state.request.key, state.counts
    records = [each for progress in done.values() for each in progress.record_keys]
    # No earlier request can have had this one's own id as its key. Where all entries have ids, some may be
    # known from long before, so no more is promised than for a key.
    is_expiry_known = 0 in done or key in {None, state.request.request_id}
    return Written(
        records=sorted(records, key=lambda each: (each["customerIdentifier"], each["create_timestamp"])),
        duplicates=_duplicates(done.values()),
        entries=sum(progress.entries_sent for progress in done.values()),
        chunks=len(state.chunks),
        inserted=counts["inserted"],
        replayed=key is not None and not counts["own_chunks"],
        resume_until=state.expires_at - GRACE_SECONDS if is_expiry_known else None,
        retries=counts["retries"],
        throttled_chunks=counts["throttled_chunks"],
        slots_moved=counts["slots_moved"],
    )


def _duplicates(chunks: Iterable[Progress]) -> list[Duplicate]:
    duplicates = [each for progress in chunks for each in progress.duplicates]
    return sorted(duplicates, key=lambda each: (each["customerIdentifier"], each["transaction_id"]))
