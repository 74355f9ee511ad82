"""The division of a request into chunks: each is one transaction of at most 100 actions."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from metering_handlers.inserting.canonical_form import CanonicalEntry

DIVISION_VERSION = 1
"""To be raised when the same request is divided otherwise: the rows of one division do not describe another's
chunks."""
MAX_TRANSACTION_ACTIONS = 100
"""Actions in one TransactWriteItems call (Amazon DynamoDB API reference)."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """What a chunk has of one customer: becomes one record."""

    customer: str
    number: int
    """How many pieces of the customer come before it."""
    entries: Sequence[CanonicalEntry]

    @property
    def with_id(self) -> list[CanonicalEntry]:
        """The entries that have a row of their own."""
        return [entry for entry in self.entries if entry.transaction_id]


Chunk = list[Piece]


def divided(entries: Iterable[CanonicalEntry], *, has_rows: bool) -> list[Chunk]:
    """Divide a request's canonical form into chunks.

    A customer's entries are in one chunk if they fit; if not, they begin a new one and fill as many as they
    need. The first chunk is the one divided last, which is seldom full: the others wait for it. ``entries``
    are the whole request, whatever is left out later: a repeat has to divide as the first try did.
    ``has_rows`` says whether each chunk has a row of its request, which is an action too.
    """
    capacity = MAX_TRANSACTION_ACTIONS - has_rows
    chunks: list[Chunk] = []
    free = 0
    for customer, group in groupby(entries, key=lambda entry: entry.customer):
        left = list(group)
        number = 0
        while left:
            # A record and the entries' rows; the entry without id, which comes first, needs no row.
            size = capacity - 1 + (not left[0].transaction_id)
            piece = Piece(customer, number, left[:size])
            left = left[size:]
            number += 1
            actions = 1 + len(piece.with_id)
            if actions > free:
                chunks.append([])
                free = capacity
            chunks[-1].append(piece)
            free -= actions
    return [chunks[-1], *chunks[:-1]]
