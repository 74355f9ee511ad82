"""The canonical form and its digests."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metering_handlers.contract.requests import BulkUsage
from metering_handlers.contract.row_ids import entry_row_id, length_prefixed
from metering_handlers.inserting.canonical_form import (
    CanonicalEntry,
    added_up,
    canonical_form,
    request_digest,
)
from tests.unit.lambda_calls import Body, buyer, buyers
from tests.unit.proxy_event import as_json

OTHERS = [buyer("d", "t", é=0), buyer("c", m=2), buyer("c", a=1, m=3)]
ENTRIES = [*OTHERS, buyer("c", "t1", m=2)]


def canonical(*entries: Body) -> list[CanonicalEntry]:
    return canonical_form(BulkUsage.model_validate_json(as_json(buyers(*entries)) or "").buyers)


def digest(*entries: Body) -> str:
    return request_digest(canonical(*entries))


def test_entries_without_id_are_added_up_and_come_first() -> None:
    assert [
        (entry.customer, entry.transaction_id, list(entry.quantities.items()), entry.sent)
        for entry in canonical(*ENTRIES)
    ] == [
        ("c", "", [("a", 1), ("m", 5)], 2),
        ("c", "t1", [("m", 2)], 1),
        ("d", "t", [("é", 0)], 1),
    ]
    assert list(added_up(canonical(*ENTRIES)).items()) == [("a", 1), ("m", 7), ("é", 0)]


def test_the_digests_never_change() -> None:
    """Another digest needs another version; an entry row's id must never change."""
    assert digest(*ENTRIES) == "1:5f3190e78189d0051382f11996ade2b77266b01bfa80f1d8ca43ff9752f51d8f"
    assert canonical(*ENTRIES)[0].digest == "b684f1d3b4881deb7389702f725823fbc698098f6a7acbfe79dc630707f20937"
    row_id = "4d737a9115ec07eac041fee829aec9e725b98354593b8c4185970f43529580ae"
    assert entry_row_id("ExWoL3vTir2", "2026-11-23T10") == row_id


@given(st.permutations(ENTRIES))
def test_the_order_of_entries_does_not_matter(entries: list[Body]) -> None:
    assert digest(*entries) == digest(*ENTRIES)


@pytest.mark.parametrize(
    "without_id",
    [
        [buyer("c", m=5, a=1)],
        [buyer("c", a=1), buyer("c", m=5)],
        [buyer("c", m=2), buyer("c", m=3, a=0), buyer("c", a=1)],
    ],
    ids=["one entry", "one for each dimension", "parts"],
)
def test_how_usage_without_id_is_grouped_does_not_matter(without_id: list[Body]) -> None:
    assert digest(*without_id, buyer("c", "t1", m=2), buyer("d", "t", é=0)) == digest(*ENTRIES)


CHANGED = {
    "customer": buyer("C", "t1", m=2),
    "id": buyer("c", "t2", m=2),
    "without id": buyer("c", m=2),
    "dimension": buyer("c", "t1", n=2),
    "quantity": buyer("c", "t1", m=3),
    "one more of nothing": buyer("c", "t1", m=2, n=0),
}
ALIKE = {
    "customer and id": ([buyer("ab", "c", m=1)], [buyer("a", "bc", m=1)]),
    "dimension and quantity": ([buyer("c", "t", m1=1)], [buyer("c", "t", m=11)]),
    "one entry and two": ([buyer("a", "t", m=1, n=1)], [buyer("a", "t", m=1), buyer("n", "1", m=1)]),
}


@pytest.mark.parametrize(
    ("one", "other"),
    [*(([*OTHERS, each], ENTRIES) for each in CHANGED.values()), *ALIKE.values()],
    ids=[*CHANGED, *ALIKE],
)
def test_other_entries_have_another_digest(one: list[Body], other: list[Body]) -> None:
    assert digest(*one) != digest(*other)


@given(st.lists(st.text(max_size=4), max_size=4), st.lists(st.text(max_size=4), max_size=4))
def test_no_two_lists_of_texts_have_the_same_bytes(one: list[str], other: list[str]) -> None:
    assert (length_prefixed(*one) == length_prefixed(*other)) == (one == other)
