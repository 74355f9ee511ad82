"""The progress of a chunk: timestamps of its records, and which entries are known; as its row stores both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, Self

from metering_handlers.contract.answers import Duplicate, RecordKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from metering_handlers.inserting.canonical_form import CanonicalEntry
    from metering_handlers.inserting.division import Chunk, Piece
    from metering_handlers.inserting.rows import EntryRow

_VALUE_BYTES = 5
_BIAS_MS = 1 << 37
"""Four years: a known record is older than the request, or younger by a difference of clocks."""


class Known(NamedTuple):
    """What is known of an entry that is left out."""

    create_timestamp: int
    """Of the record that holds it, in ms since the epoch."""
    differs: bool
    """Whether it was stored with other usage."""


@dataclass(eq=False)
class Progress:
    """The progress of one chunk of a request."""

    chunk: Chunk
    slots: dict[Piece, int]
    """``create_timestamp`` of each piece's record, in ms since the epoch, written or not."""
    known: dict[CanonicalEntry, Known] = field(default_factory=dict)
    """Entries that other requests have stored, and that are left out."""
    stored: set[CanonicalEntry] = field(default_factory=set)
    """Entries that this request turned out to have stored, by an attempt whose answer was lost."""

    def to_write(self, piece: Piece) -> list[CanonicalEntry]:
        """Return the entries of a piece that are not in the table."""
        return [entry for entry in piece.entries if entry not in self.known and entry not in self.stored]

    def note(self, rows: Mapping[CanonicalEntry, EntryRow], request_id: str) -> None:
        """Note entries whose rows exist: an entry is no duplicate if this same request wrote its row."""
        for piece in self.chunk:
            for entry in piece.with_id:
                row = rows.get(entry)
                if row is None:
                    continue
                if row.request_id == request_id:
                    self.stored.add(entry)
                    self.slots[piece] = row.create_timestamp
                else:
                    self.known[entry] = Known(row.create_timestamp, row.digest != entry.digest)

    @property
    def written(self) -> list[Piece]:
        """The pieces that have a record: all but those whose entries are all known."""
        return [piece for piece in self.chunk if any(entry not in self.known for entry in piece.entries)]

    @property
    def entries_sent(self) -> int:
        """Entries of the request in this chunk, as they were sent."""
        return sum(entry.sent for piece in self.chunk for entry in piece.entries)

    @property
    def record_keys(self) -> Iterator[RecordKey]:
        """The keys of the records."""
        for piece in self.written:
            yield RecordKey(customerIdentifier=piece.customer, create_timestamp=self.slots[piece])

    @property
    def duplicates(self) -> Iterator[Duplicate]:
        """The entries that were left out."""
        for entry, known in self.known.items():
            yield Duplicate(
                customerIdentifier=entry.customer,
                transaction_id=entry.transaction_id,
                create_timestamp=known.create_timestamp,
                differs=known.differs,
            )

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
                known = self.known.get(entry)
                # An id is forgotten long before its record is as old as that, but no row may stop an insert.
                age_ms = max(1, known.create_timestamp - request_time + _BIAS_MS) if known else 0
                values.append(2 * age_ms + known.differs if known else 0)
        return b"".join(value.to_bytes(_VALUE_BYTES) for value in values)

    @classmethod
    def from_bytes(cls, chunk: Chunk, encoded: bytes, request_time: int) -> Self:
        """Decode the result of a chunk that is stored."""
        values = (
            int.from_bytes(encoded[start : start + _VALUE_BYTES])
            for start in range(0, len(encoded), _VALUE_BYTES)
        )
        progress = cls(chunk, {})
        for piece in chunk:
            if offset := next(values):
                progress.slots[piece] = request_time + offset - 1
            for entry in piece.with_id:
                if value := next(values):
                    age, differs = divmod(value, 2)
                    progress.known[entry] = Known(request_time + age - _BIAS_MS, bool(differs))
        return progress
