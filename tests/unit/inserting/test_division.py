"""The division of requests into chunks."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.division import Chunk, divided

CUSTOMERS = st.dictionaries(
    st.integers(0, 400), st.tuples(st.booleans(), st.integers(0, 250)), min_size=1, max_size=12
)
"""For each customer, whether it has usage without id, and how many entries with id."""


def entries_of(customer: str, *, without_id: bool = False, with_id: int = 0) -> list[CanonicalEntry]:
    ids = ([""] if without_id else []) + [f"{number:05}" for number in range(with_id)]
    return [CanonicalEntry(customer, transaction_id, {"m": 1}, 1) for transaction_id in ids]


def sizes(chunks: list[Chunk]) -> list[int]:
    """Actions of each chunk, without the request's row."""
    return [sum(piece.actions for piece in chunk) for chunk in chunks]


@given(CUSTOMERS, st.booleans())
def test_every_division_keeps_the_rules(customers: dict[int, tuple[bool, int]], has_rows: bool) -> None:
    entries = [
        entry
        for customer, (without_id, with_id) in sorted(customers.items())
        for entry in entries_of(f"c{customer:03}", without_id=without_id or not with_id, with_id=with_id)
    ]

    chunks = divided(entries, has_rows=has_rows)

    capacity = 99 if has_rows else 100
    pieces = [piece for chunk in chunks for piece in chunk]
    # Each entry once, of the piece's customer.
    assert Counter(entry for piece in pieces for entry in piece.entries) == Counter(entries)
    assert all(entry.customer == piece.customer for piece in pieces for entry in piece.entries)
    # Transactions of at most 100 actions, with one record for a customer.
    assert all(size <= capacity for size in sizes(chunks))
    assert all(len({piece.customer for piece in chunk}) == len(chunk) for chunk in chunks)
    for customer in {entry.customer for entry in entries}:
        own = sorted((each for each in pieces if each.customer == customer), key=lambda piece: piece.number)
        with_id = sum(len(piece.with_id) for piece in own)
        # As few records as possible, numbered for their timestamps; what has no id is in the first.
        assert len(own) == max(1, -(-with_id // (capacity - 1)))
        assert [piece.number for piece in own] == list(range(len(own)))
        assert all(entry.transaction_id for piece in own[1:] for entry in piece.entries)


@pytest.mark.parametrize("has_rows", [False, True])
def test_a_customer_that_does_not_fit_begins_a_new_chunk(has_rows: bool) -> None:
    first, second = entries_of("a", with_id=60), entries_of("b", with_id=60)

    chunks = divided(first + second, has_rows=has_rows)

    assert [[piece.entries for piece in chunk] for chunk in chunks] == [[second], [first]]


@pytest.mark.parametrize(("has_rows", "expected"), [(True, [11, 99, 99]), (False, [9, 100, 100])])
def test_small_customers_fill_their_chunks(has_rows: bool, expected: list[int]) -> None:
    entries = [entry for number in range(209) for entry in entries_of(f"{number:03}", without_id=True)]

    assert sizes(divided(entries, has_rows=has_rows)) == expected
