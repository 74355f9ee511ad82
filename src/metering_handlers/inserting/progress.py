"""The progress of a chunk: timestamps of its records, and which entries are known; as its row stores both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from metering_handlers.contract.answers import Duplicate
from metering_handlers.contract.attributes import CREATE_TIMESTAMP, DIGEST, REQUEST_ID

if TYPE_CHECKING:
    from metering_handlers.dynamodb import Item
    from metering_handlers.inserting.canonical_form import CanonicalEntry
    from metering_handlers.inserting.division import Chunk, Piece

_VALUE_BYTES = 5
_BIAS_MS = 1 << 37
"""Four years: a known record is older than the request, or younger by a difference of clocks."""


@dataclass(eq=False)
class Progress:
    """The progress of one chunk of a request."""

    chunk: Chunk
    slots: dict[Piece, int]
    """``create_timestamp`` of each piece's record, in ms since the epoch, written or not."""
    known: dict[CanonicalEntry, Duplicate] = field(default_factory=dict)
    """Entries that other requests have stored, and that are left out."""
    stored: set[CanonicalEntry] = field(default_factory=set)
    """Entries that this request turned out to have stored, by an attempt whose answer was lost."""

    def to_write(self, piece: Piece) -> list[CanonicalEntry]:
        """Return the entries of a piece that are not in the table."""
        return [entry for entry in piece.entries if entry not in self.known and entry not in self.stored]

    def note(self, piece: Piece, entry: CanonicalEntry, row: Item, request_id: str) -> None:
        """Note an entry whose row exists: it is no duplicate if this same request wrote the row."""
        create_timestamp = int(row[CREATE_TIMESTAMP]["N"])
        if row[REQUEST_ID]["S"] == request_id:
            self.stored.add(entry)
            self.slots[piece] = create_timestamp
        else:
            self._leave_out(entry, create_timestamp, differs=row[DIGEST]["S"] != entry.digest)

    def _leave_out(self, entry: CanonicalEntry, create_timestamp: int, *, differs: bool) -> None:
        self.known[entry] = Duplicate(
            customerIdentifier=entry.customer,
            transaction_id=entry.transaction_id,
            create_timestamp=create_timestamp,
            differs=differs,
        )

    @property
    def written(self) -> list[Piece]:
        """The pieces that have a record: all but those whose entries are all known."""
        return [piece for piece in self.chunk if any(entry not in self.known for entry in piece.entries)]

    def to_bytes(self, request_time: int) -> bytes:
        """Encode the result: 5 bytes for each record and each entry with an id, which keeps a row below 1 KB.

        A record is the ms from the request's time to its timestamp, plus 1, or 0 if there is none. An entry
        is 0; if it was left out, twice the ms (plus `_BIAS_MS`) to the known record's timestamp, plus 1 if it
        differs.
        """
        written = set(self.written)
        values = []
        for piece in self.chunk:
            values.append(self.slots[piece] - request_time + 1 if piece in written else 0)
            for entry in piece.with_id:
                value = 0
                if known := self.known.get(entry):
                    # An id is forgotten long before its record is as old, but no row may stop an insert.
                    age_ms = max(1, known["create_timestamp"] - request_time + _BIAS_MS)
                    value = 2 * age_ms + known["differs"]
                values.append(value)
        return b"".join(value.to_bytes(_VALUE_BYTES) for value in values)

    @classmethod
    def from_bytes(cls, chunk: Chunk, encoded: bytes, request_time: int) -> Self:
        """Decode the result of a chunk that is stored."""
        starts = range(0, len(encoded), _VALUE_BYTES)
        values = (int.from_bytes(encoded[start : start + _VALUE_BYTES]) for start in starts)
        progress = cls(chunk, {})
        for piece in chunk:
            if offset := next(values):
                progress.slots[piece] = request_time + offset - 1
            for entry in piece.with_id:
                if value := next(values):
                    age_ms, differs = divmod(value, 2)
                    progress._leave_out(entry, request_time + age_ms - _BIAS_MS, differs=bool(differs))
        return progress
