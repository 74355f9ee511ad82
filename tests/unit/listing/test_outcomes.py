"""The outcome of a record and of its dimensions, from what the hourly job stored."""

import json
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer
from hypothesis import given
from hypothesis import strategies as st

from metering_handlers.contract.queries import RecordStatus
from metering_handlers.listing.pages import page_of
from metering_handlers.listing.query import Batch
from metering_handlers.listing.totals import totals_of
from tests.unit.listing.records import MARKED, PENDING, Item, record

M, N = "metered_1_id", "metered_3_id"
BILLED = ("metered", "metered", "metered")
UNKNOWN = ("failed", "Unknown", "Unknown")


def listed(item: Item) -> Any:  # noqa: ANN401 - parsed JSON
    (text,) = page_of([Batch([item], None)], status=None, limit=1).records
    return json.loads(text, parse_constant=pytest.fail)


def told(item: Item) -> tuple[str, ...]:
    """Return a record's status, and for each dimension the reason of its failure, or else its status."""
    found = listed(item)
    return (found["status"], *(used.get("reason", used["status"]) for used in found["dimension_usage"]))


def answered(response: object) -> Item:
    """Build what the job sets; a response that is text goes as it is, another one as JSON."""
    return {"metering_response": {"S": response if isinstance(response, str) else json.dumps(response)}}


def result(dimension: object, status: object) -> dict[str, object]:
    return {"UsageRecord": {"Dimension": dimension, "Quantity": 10}, "Status": status}


def named_again(*results: object) -> Item:
    """Build an answer that names M among the unprocessed too, as may happen to usage with allocations."""
    return answered({"Results": results, "UnprocessedRecords": [{"Dimension": M}]})


EXCEPTIONS: dict[str, object] = {
    "ThrottlingException": {"code": "ThrottlingException", "message": "Rate exceeded"},
    "TimeoutError": {"code": None, "name": "TimeoutError", "$metadata": {}},
    "ECONNRESET": {"errno": -104, "code": "ECONNRESET", "name": "Error"},
    # The longest reason.
    "x" * 128: {"code": "x" * 129, "name": "x" * 128},
}
UNREADABLE = [
    # Cut off, as by an editor of the table.
    *(marks["metering_response"]["S"][:-20] for marks in MARKED.values()),
    *("", "billed by hand", '"billed by hand"', '{"Results": [', '"{\\"Results\\": ["'),
    *("null", "7", "[]", "{}", '{"Quantity": NaN}', '{"Quantity": 1e999}', '{"code": "\\ud800"}'),
    *('{"Quantity": ' + "9" * 5_000 + "}", '{"code": 400, "name": ""}'),
    # What parses these, or writes them again, has some limit of depth.
    *("[" * levels + "]" * levels for levels in (100, 200, 255, 5_000, 100_000)),
    {"Results": "none", "UnprocessedRecords": None},
    {"Results": [], "UnprocessedRecords": []},
    {"Results": [None, M, {}, {"UsageRecord": M, "Status": "Success"}]},
    {"Results": [result(M, None), result([M], "Success"), result(M, ""), result(M.upper(), "Success")]},
    {"UnprocessedRecords": [None, M, {"Dimension": None}]},
    # Another dimension's outcome; a member that has the name of an exception's.
    {"Results": [result("other", "Success")], "code": "CustomerNotSubscribed"},
    {"UnprocessedRecords": [], "code": "CustomerNotSubscribed"},
]
NO_USAGE: Item = {"dimension_usage": {"L": [{"S": "junk"}]}}
WRONG_DIMENSION = "InvalidUsageDimensionException"
M_BILLED, M_REFUSED, N_BILLED = result(M, "Success"), result(M, "DuplicateRecord"), result(N, "Success")


@pytest.mark.parametrize(
    ("marks", "expected"),
    [
        (MARKED["every dimension billed"], BILLED),
        (MARKED["CustomerNotSubscribed"], ("failed", "metered", "CustomerNotSubscribed")),
        (MARKED["DuplicateRecord"], ("failed", "DuplicateRecord", "metered")),
        (MARKED["unprocessed"], ("failed", "metered", "Unprocessed")),
        (MARKED["exception, release of 2025"], ("failed", WRONG_DIMENSION, WRONG_DIMENSION)),
        (MARKED["exception, release of April 2026"], ("failed", WRONG_DIMENSION, WRONG_DIMENSION)),
        *((answered(each), ("failed", reason, reason)) for reason, each in EXCEPTIONS.items()),
        *((answered(each), UNKNOWN) for each in UNREADABLE),
        ({}, UNKNOWN),
        # Only the value that the job reads makes a record pending.
        *(({"metering_pending": {"S": text}}, UNKNOWN) for text in ("TRUE", "true ", "false")),
        *(({"metering_pending": other}, UNKNOWN) for other in ({"BOOL": True}, {"NULL": True})),
        # What was billed once is never called failed: failed usage is sent again as a whole.
        (named_again(M_BILLED, N_BILLED), BILLED),
        (named_again(M_BILLED, M_REFUSED), ("failed", "metered", "Unknown")),
        (named_again(M_REFUSED, M_BILLED), ("failed", "metered", "Unknown")),
        (named_again(M_REFUSED, N_BILLED), ("failed", "DuplicateRecord", "metered")),
        # Without dimensions; the answer is about the customer's other records of the hour.
        *((marks | NO_USAGE, ("failed",)) for marks in (MARKED["every dimension billed"], {})),
        # A map in place of text.
        ({"metering_response": TypeSerializer().serialize({"Results": [M_BILLED, N_BILLED]})}, BILLED),
    ],
)
def test_the_stored_answer_decides_whatever_the_flag_says(marks: Item, expected: tuple[str, ...]) -> None:
    item = record(1, marks, **{M: 10, N: 20})

    assert told(item | PENDING) == ("pending",) * len(expected)
    for flag in (True, False):
        assert told(item | {"metering_failed": {"BOOL": flag}}) == expected
    item.pop("metering_failed", None)
    assert told(item) == expected


@pytest.mark.parametrize(
    "content",
    ["", "billed by hand", '{"Results": [', '{"a": NaN}', '{"a": "\\ud800"}', {"a": [1, "é", None]}],
)
def test_an_answer_is_listed_parsed_and_other_text_as_it_is(content: object) -> None:
    text = content if isinstance(content, str) else json.dumps(content)
    for stored in (text, json.dumps(text)):
        assert listed(record(1, answered(stored)))["metering_response"] == content


_NAMES = st.sampled_from(
    ["dimension", "value", "Results", "UnprocessedRecords", "UsageRecord", "Dimension", "Status", "code"]
)
_texts = st.text() | st.sampled_from(["m", "Success"])


def nested(leaves: st.SearchStrategy[object]) -> st.SearchStrategy[object]:
    return st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(_NAMES, inner), max_leaves=20)


_json = nested(st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | _texts)
_stored = nested(st.none() | st.integers() | st.decimals(-9, 9, places=2) | st.binary() | _texts)


@given(
    marks=st.dictionaries(
        st.sampled_from(["dimension_usage", "metering_pending", "metering_failed", "metering_response"]),
        _stored.map(TypeSerializer().serialize),
    ),
    response=st.none() | _json.map(json.dumps) | _json.map(json.dumps).map(json.dumps) | _texts,
)
def test_any_record_is_listed_filtered_and_added_up_alike(marks: Item, response: str | None) -> None:
    item = record(1, marks if response is None else marks | answered(response))

    found = listed(item)

    batches = [Batch([item], None)]
    for status in RecordStatus:
        assert len(page_of(batches, status=status, limit=1).records) == (found["status"] == status)
    totals = totals_of(batches)[0].by_dimension
    assert {(used["dimension"], used["status"]) for used in found["dimension_usage"]} == {
        (name, status) for name, sums in totals.items() for status, total in sums.items() if total.records
    }
    for used in found["dimension_usage"]:
        assert ("reason" in used) == (used["status"] == "failed")
        assert used["status"] != "metered" or "Success" in str(item["metering_response"])
