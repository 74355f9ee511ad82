"""One chunk: its records, its entries' rows and its request's row, in one transaction.

A row exists if and only if the records of its chunk do. A repeated request therefore finds what is stored and
writes the rest, after a lost response, a crash, or a concurrent request with the same key or entries.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from metering_handlers.contract.row_ids import request_row_id
from metering_handlers.dynamodb import (
    NO_ANSWER_ERRORS,
    THROTTLING_ERRORS,
    UnavailableError,
    is_retryable,
    random_backoff_ms,
    spare_ms,
)
from metering_handlers.inserting.canonical_form import CanonicalEntry, added_up
from metering_handlers.inserting.division import Piece
from metering_handlers.inserting.progress import Progress
from metering_handlers.inserting.records import put_record
from metering_handlers.inserting.rows import EntryRow, RequestRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mypy_boto3_dynamodb.type_defs import PutTypeDef

    from metering_handlers.dynamodb import Item
    from metering_handlers.inserting.request_state import RequestState

    Target = Piece | CanonicalEntry | None
    """What an action puts: a piece's record, an entry's row, or the request's row."""

MAX_AHEAD_MS = 10_000
"""Longest time from a request's to the ``create_timestamp`` of a record it writes."""
MAX_STEP_MS = 50
"""Longest step of a record whose timestamp is taken; random, so that two requests do not stay in step."""

_CONDITION_FAILED = "ConditionalCheckFailed"
_THROTTLED = frozenset({"ProvisionedThroughputExceeded", "ThrottlingError"})
_RETRYABLE = _THROTTLED | {"None", "TransactionConflict"}


@dataclass(frozen=True, kw_only=True)
class _Failure:
    """Why a transaction was not written, or is not known to be."""

    is_final: bool = False
    """Whether DynamoDB cancelled it. If not, it is repeated with its token and its items, by which DynamoDB
    recognizes it if it was written; after a cancellation the token is new, since the items may change."""
    is_throttling: bool = False
    is_unknown: bool = False
    """Whether it may have been written."""
    conditions: Sequence[tuple[Target, Item | None]] = ()
    """What could not be put, and for the request's row the one that is there."""


class ChunkWriter:
    """Writes one chunk of a request, or reads what of it is known."""

    def __init__(self, state: RequestState, number: int) -> None:
        self._state = state
        self._request = state.request
        self._number = number
        chunk = state.chunks[number]
        self.progress = Progress(chunk, {piece: self._request.time_ms + piece.number for piece in chunk})
        self._token = str(uuid.uuid4())
        self._failures: Counter[str] = Counter()
        self._outcome_unknown = False

    def write(self) -> Progress:
        """Try until the chunk is stored, by this request or by another with the same key.

        Raises
        ------
        UnavailableError
            If the time ran out.
        """
        state = self._state
        if state.reads_first and (stored := self.read_known()):
            return stored
        state.pace.start(self.progress)
        while spare_ms(self._request.remaining_ms) >= 0:
            actions = self._actions()
            if not actions:
                # A request without rows, whose entries here are all in the table.
                state.count(inserted=len(self.progress.written) if self._outcome_unknown else 0)
                return self.progress
            failure = self._send(actions)
            if failure is None:
                state.count(own_chunks=1, inserted=sum(isinstance(target, Piece) for target, _ in actions))
                state.pace.written()
                return self.progress
            if stored := self._prepare_next(failure):
                return stored
        raise UnavailableError

    def read_known(self) -> Progress | None:
        """Note which entries are known; return the chunk's stored progress if its own row is there."""
        entries = {entry.row_id: entry for piece in self.progress.chunk for entry in piece.with_id}
        row_ids = list(entries)
        if self._request.key is not None:
            row_ids.append(request_row_id(self._request.key, self._number))
        known: dict[CanonicalEntry, EntryRow] = {}
        for row_id, item in self._state.read_rows(row_ids).items():
            if row_id in entries:
                row = EntryRow.from_item(item)
                if row.is_known(self._request.time_s):
                    known[entries[row_id]] = row
            elif stored := self._accept(item):
                return stored
        self.progress.note(known, self._request.request_id)
        return None

    def _accept(self, item: Item) -> Progress | None:
        return self._state.accept(RequestRow.from_item(item), outcome_unknown=self._outcome_unknown)

    def _actions(self) -> list[tuple[Target, PutTypeDef]]:
        """Create the actions of the transaction, each with what it puts."""
        state, request, progress = self._state, self._request, self.progress
        tables = state.tables
        actions: list[tuple[Target, PutTypeDef]] = []
        if request.key is not None:
            # Also if all entries are known: the row says that the chunk is done.
            actions.append((None, state.put_row(self._number, progress)))
        for piece in progress.chunk:
            entries = progress.to_write(piece)
            if not entries:
                continue
            slot = progress.slots[piece]
            usage = added_up(entries)
            record = put_record(tables.metering_table, piece.customer, slot, usage, request.request_id)
            actions.append((piece, record))
            for entry in entries:
                if not entry.transaction_id:
                    continue
                row = EntryRow(
                    row_id=entry.row_id,
                    customer=entry.customer,
                    digest=entry.digest,
                    create_timestamp=slot,
                    request_id=request.request_id,
                    expires_at=state.entries_expire_at,
                )
                actions.append((entry, row.put(tables.idempotency_table, request.time_s)))
        return actions

    def _send(self, actions: Sequence[tuple[Target, PutTypeDef]]) -> _Failure | None:
        """Try the transaction once; return why it failed, or None if it was written."""
        client = self._state.tables.client
        try:
            client.transact_write_items(
                TransactItems=[{"Put": put} for _, put in actions], ClientRequestToken=self._token
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

    def _prepare_next(self, failure: _Failure) -> Progress | None:
        """Wait for the next attempt; return the chunk's stored progress if its row is there."""
        state, failures = self._state, self._failures
        if failure.is_final:
            self._token = str(uuid.uuid4())
        if failure.conditions:
            if stored := self._resolve(failure.conditions):
                return stored
            # What was known is left out at once; whoever collides again makes room for the others.
            if failures["conditions"]:
                state.pace.sleep(random_backoff_ms(failures["conditions"]))
            failures["conditions"] += 1
            return None
        self._outcome_unknown |= failure.is_unknown
        state.count(retries=1)
        if failure.is_throttling:
            state.count(throttled_chunks=int(not failures["throttled"]))
            failures["throttled"] += 1
            state.pace.throttled(self.progress)
        else:
            failures["other"] += 1
            state.pace.sleep(random_backoff_ms(failures["other"]))
        return None

    def _resolve(self, failed: Sequence[tuple[Target, Item | None]]) -> Progress | None:
        """Change what made conditions fail; return the chunk's stored progress if its row is there.

        DynamoDB need not name all conditions that failed; each further attempt names another one.
        """
        for target, item in failed:
            if target is None and item and (stored := self._accept(item)):
                return stored
        for target, _ in failed:
            if isinstance(target, Piece):
                self._move(target)
        if any(isinstance(target, CanonicalEntry) for target, _ in failed):
            return self.read_known()
        return None

    def _move(self, piece: Piece) -> None:
        """Move a record whose timestamp another one of the customer has."""
        # Not used for security: it only spreads records.
        slot = self.progress.slots[piece] + random.randint(1, MAX_STEP_MS)  # noqa: S311
        if slot > self._request.time_ms + MAX_AHEAD_MS:
            raise UnavailableError
        self.progress.slots[piece] = slot
        self._state.count(slots_moved=1)
