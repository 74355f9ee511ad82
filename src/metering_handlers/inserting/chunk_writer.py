"""One chunk: its records, its entries' rows and its request's row, in one transaction.

So a repeated request finds what is stored and writes the rest, after a lost response, a crash, or a
concurrent request with the same key or entries.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from typing import TYPE_CHECKING, cast

from botocore.exceptions import ClientError

from metering_handlers import dynamodb
from metering_handlers.contract import attributes as names
from metering_handlers.contract.row_ids import request_row_id
from metering_handlers.dynamodb import UnavailableError
from metering_handlers.inserting.canonical_form import CanonicalEntry, added_up
from metering_handlers.inserting.division import Piece
from metering_handlers.inserting.progress import Progress
from metering_handlers.inserting.rows import is_known, put_row

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, PutTypeDef

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

        Raises UnavailableError if the time ran out.
        """
        state = self._state
        if state.reads_first and (stored := self.read_known()):
            return stored
        state.pace.start(self.progress)
        while dynamodb.spare_ms(self._request.remaining_ms) >= 0:
            if stored := self._try():
                return stored
        raise UnavailableError

    def read_known(self) -> Progress | None:
        """Note which entries are known; return the chunk's stored progress if its own row is there."""
        request = self._request
        entries = {entry.row_id: (piece, entry) for piece in self.progress.chunk for entry in piece.with_id}
        own_id = [] if request.key is None else [request_row_id(request.key, self._number)]
        rows = self._state.read_rows([*entries, *own_id])
        for row_id in own_id:
            if row_id in rows and (stored := self._accept(rows[row_id])):
                return stored
        for row_id, (piece, entry) in entries.items():
            if (row := rows.get(row_id)) and is_known(row, request.time_s):
                self.progress.note(piece, entry, row, request.request_id)
        return None

    def _accept(self, item: Item) -> Progress | None:
        return self._state.accept(self._number, item, outcome_unknown=self._outcome_unknown)

    def _try(self) -> Progress | None:
        """Send the transaction once; return the chunk's progress if it is stored, or prepare the next try."""
        state = self._state
        client = state.tables.client
        actions = self._actions()
        if not actions:
            # A request without rows, whose entries here are all in the table.
            state.count(inserted=len(self.progress.written) if self._outcome_unknown else 0)
            return self.progress
        try:
            client.transact_write_items(
                TransactItems=[{"Put": put} for _, put in actions], ClientRequestToken=self._token
            )
        except client.exceptions.TransactionCanceledException as error:
            # Nothing was written. What is sent next may have other items, for which the token has to be new.
            self._token = str(uuid.uuid4())
            reasons = error.response["CancellationReasons"]
            failed = [
                (target, cast("Item | None", reason.get("Item")))
                for (target, _), reason in zip(actions, reasons, strict=True)
                if reason["Code"] == _CONDITION_FAILED
            ]
            if failed:
                return self._resolve(failed)
            codes = {reason["Code"] for reason in reasons}
            if not _RETRYABLE.issuperset(codes):
                raise
            self._wait(is_throttling=not _THROTTLED.isdisjoint(codes))
        except (ClientError, *dynamodb.NO_ANSWER_ERRORS) as error:
            # To be repeated with its token and its items, by which DynamoDB recognizes it if it was written.
            if not dynamodb.is_retryable(error):
                raise
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else None
            is_throttling = code in dynamodb.THROTTLING_ERRORS
            self._outcome_unknown |= not is_throttling
            self._wait(is_throttling=is_throttling)
        else:
            state.count(own_chunks=1, inserted=sum(isinstance(target, Piece) for target, _ in actions))
            state.pace.written()
            return self.progress
        return None

    def _actions(self) -> list[tuple[Target, PutTypeDef]]:
        """Create the actions of the transaction, each with what it puts."""
        state, request, progress = self._state, self._request, self.progress
        actions: list[tuple[Target, PutTypeDef]] = []
        if request.key is not None:
            # Also if all entries are known: the row says that the chunk is done.
            actions.append((None, state.put_request_row(self._number, progress)))
        for piece in progress.chunk:
            entries = progress.to_write(piece)
            if not entries:
                continue
            slot = progress.slots[piece]
            actions.append((piece, self._put_record(piece.customer, slot, added_up(entries))))
            with_id = [entry for entry in entries if entry.transaction_id]
            actions += ((entry, self._put_entry_row(entry, slot)) for entry in with_id)
        return actions

    def _put_record(self, customer: str, slot: int, quantities: Mapping[str, int]) -> PutTypeDef:
        """Create the action that puts a new, pending record; it fails rather than overwrite one."""
        return {
            "TableName": self._state.tables.metering_table,
            "Item": {
                names.CUSTOMER_IDENTIFIER: {"S": customer},
                names.CREATE_TIMESTAMP: {"N": str(slot)},
                names.METERING_PENDING: names.IS_PENDING,
                names.DIMENSION_USAGE: {
                    "L": [
                        {"M": {names.DIMENSION: {"S": name}, names.VALUE: {"N": str(quantity)}}}
                        for name, quantity in quantities.items()
                    ]
                },
                # For tracing: the job ignores it.
                names.REQUEST_ID: {"S": self._request.request_id},
            },
            "ConditionExpression": f"attribute_not_exists({names.CUSTOMER_IDENTIFIER})",
        }

    def _put_entry_row(self, entry: CanonicalEntry, slot: int) -> PutTypeDef:
        """Create the action that puts an entry's row; it fails if the entry is known."""
        item: dict[str, AttributeValueTypeDef] = {
            names.ROW_ID: {"S": entry.row_id},
            names.CUSTOMER_IDENTIFIER: {"S": entry.customer},
            names.CREATE_TIMESTAMP: {"N": str(slot)},
            names.DIGEST: {"S": entry.digest},
            names.REQUEST_ID: {"S": self._request.request_id},
        }
        state = self._state
        return put_row(state.tables.idempotency_table, item, state.entries_expire_at, self._request.time_s)

    def _resolve(self, failed: Sequence[tuple[Target, Item | None]]) -> Progress | None:
        """Change what made conditions fail; return the chunk's stored progress if its row is there.

        DynamoDB need not name all conditions that failed; each further attempt names another one.
        """
        for target, item in failed:
            # The request's row comes first.
            if target is None and item and (stored := self._accept(item)):
                return stored
            if isinstance(target, Piece):
                self._move(target)
        if any(isinstance(target, CanonicalEntry) for target, _ in failed) and (stored := self.read_known()):
            return stored
        # What was known is left out at once; whoever collides again makes room for the others.
        if self._failures["conditions"]:
            self._state.pace.sleep(dynamodb.random_backoff_ms(self._failures["conditions"]))
        self._failures["conditions"] += 1
        return None

    def _move(self, piece: Piece) -> None:
        """Move a record whose timestamp another one of the customer has."""
        # Not used for security: it only spreads records.
        slot = self.progress.slots[piece] + random.randint(1, MAX_STEP_MS)  # noqa: S311
        if slot > self._request.time_ms + MAX_AHEAD_MS:
            raise UnavailableError
        self.progress.slots[piece] = slot
        self._state.count(slots_moved=1)

    def _wait(self, *, is_throttling: bool) -> None:
        """Wait for the next try after a failure that may pass."""
        state, failures = self._state, self._failures
        state.count(retries=1)
        if is_throttling:
            state.count(throttled_chunks=int(not failures["throttled"]))
            failures["throttled"] += 1
            state.pace.throttled(self.progress)
        else:
            failures["other"] += 1
            state.pace.sleep(dynamodb.random_backoff_ms(failures["other"]))
