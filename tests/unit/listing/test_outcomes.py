"""The outcome of a record and of its dimensions, from what the hourly job stored."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef
from pydantic_core import to_json

from metering_handlers.contract.queries import RecordStatus
from metering_handlers.listing.outcomes import outcome_of
from tests.unit.listing.metering_responses import MARKED, PENDING, Item

Told = tuple[str, list[tuple[str, str | None]]]
"""A record's status, and the status and reason of its dimensions."""

BILLED = MARKED["every dimension billed"]
EXCEPTIONS = ["exception, release of 2025", "exception, release of April 2026"]
METERED: Told = ("metered", [("metered", None)])
UNKNOWN: Told = ("failed", [("failed", "Unknown")])


def used(*dimensions: str) -> AttributeValueTypeDef:
    return {"L": [{"M": {"dimension": {"S": name}, "value": {"N": "10"}}} for name in dimensions]}


def marked(response: object, *dimensions: str) -> Item:
    """Build a record as the job marks it; a response that is text goes as it is, another one as JSON."""
    text = response if isinstance(response, str) else json.dumps(response)
    return {"dimension_usage": used(*(dimensions or ("m",))), "metering_response": {"S": text}}


def result(dimension: object, status: object) -> dict[str, object]:
    return {"UsageRecord": {"Dimension": dimension, "Quantity": 10}, "Status": status}


def told(item: Item) -> Told:
    outcome = outcome_of(item)
    return outcome.status.value, [(entry.status.value, entry.reason) for entry in outcome.dimensions]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("every dimension billed", ("metered", [("metered", None), ("metered", None)])),
        ("CustomerNotSubscribed", ("failed", [("metered", None), ("failed", "CustomerNotSubscribed")])),
        ("DuplicateRecord", ("failed", [("failed", "DuplicateRecord"), ("metered", None)])),
        ("unprocessed", ("failed", [("metered", None), ("failed", "Unprocessed")])),
        (EXCEPTIONS[0], ("failed", [("failed", "InvalidUsageDimensionException")] * 2)),
        (EXCEPTIONS[1], ("failed", [("failed", "InvalidUsageDimensionException")] * 2)),
    ],
)
@pytest.mark.parametrize("flag", [None, {"BOOL": True}, {"BOOL": False}, {"S": "true"}])
def test_the_stored_answer_decides_whatever_the_flag_says(
    name: str, expected: Told, flag: AttributeValueTypeDef | None
) -> None:
    item: Item = {"dimension_usage": used("metered_1_id", "metered_3_id"), **MARKED[name]}
    del item["metering_failed"]
    if flag:
        item["metering_failed"] = flag

    assert told(item) == expected
    assert isinstance(outcome_of(item).metering_response, dict)
    assert told(item | PENDING) == ("pending", [("pending", None)] * 2)


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        *({"metering_failed": {"BOOL": flag}} for flag in (True, False)),
        *({"metering_pending": {"S": text}} for text in ("TRUE", "true ", "false")),
        *({"metering_pending": {"BOOL": True}}, {"metering_pending": {"NULL": True}}),
    ],
)
def test_without_an_answer_nothing_is_metered(attributes: Item) -> None:
    """And only the value that the job reads makes a record pending."""
    assert told({"dimension_usage": used("m")} | attributes) == UNKNOWN


@pytest.mark.parametrize(
    "response",
    [
        # Cut off, as by an editor of the table.
        *(marks["metering_response"]["S"][:-20] for marks in (BILLED, MARKED[EXCEPTIONS[0]])),
        *("", "billed by hand", '"billed by hand"', '{"Results": [', '"{\\"Results\\": ["'),
        *("null", "7", "[]", "{}", '{"Quantity": NaN}', '{"Quantity": 1e999}'),
        '{"Quantity": ' + "9" * 5_000 + "}",
        '{"code": "\\ud800"}',
        '{"code": "' + "x" * 1_000 + '"}',
        '{"code": 400, "name": ""}',
        "[" * 100_000,
        {"Results": "none", "UnprocessedRecords": None},
        {"Results": [], "UnprocessedRecords": []},
        {"Results": [None, "m", {}, {"UsageRecord": "m", "Status": "Success"}]},
        {"Results": [result("m", None), result(["m"], "Success"), result("m", ""), result("M", "Success")]},
        {"UnprocessedRecords": [None, "m", {"Dimension": None}]},
        # Another dimension's outcome; a dimension that has the name of an exception's member.
        {"Results": [result("other", "Success")], "code": "CustomerNotSubscribed"},
    ],
)
def test_a_dimension_that_no_readable_answer_names_is_not_metered(response: object) -> None:
    item = marked(response)

    assert told(item) == UNKNOWN
    json.loads(to_json(outcome_of(item).metering_response), parse_constant=pytest.fail)


@pytest.mark.parametrize("text", ["billed by hand", '{"Results": [', '"{\\"Results\\": ["'])
def test_text_that_is_not_json_is_listed_as_it_is_stored(text: str) -> None:
    expected = json.loads(text) if text.startswith('"') else text

    assert outcome_of(marked(text)).metering_response == expected


def test_one_dimension_without_evidence_makes_the_record_failed() -> None:
    names: list[AttributeValueTypeDef] = [{"S": "m"}, {"S": "x"}, {"N": "7"}, {"S": "n"}]
    item = marked({"Results": [result(name, "Success") for name in ("m", "7", "n")]})
    item["dimension_usage"] = {"L": [{"M": {"dimension": name}} for name in names]}

    unknown = ("failed", "Unknown")
    assert told(item) == ("failed", [("metered", None), unknown, unknown, ("metered", None)])


@pytest.mark.parametrize(
    ("item", "status"),
    [
        (PENDING, "pending"),
        ({}, "failed"),
        ({"metering_failed": {"BOOL": False}}, "failed"),
        # An answer about other dimensions: those of the customer's other records of the hour.
        (BILLED, "failed"),
        (BILLED | {"dimension_usage": {"L": [{"S": "junk"}]}}, "failed"),
    ],
)
def test_a_record_without_dimensions_is_pending_or_failed(item: Item, status: str) -> None:
    assert told(item) == (status, [])


def test_the_answer_for_24_dimensions_with_allocations_is_read() -> None:
    """As the job of License ARNs stores it: some 300 JSON arrays and objects."""
    names = [f"d{number}" for number in range(24)]
    allocations = [
        {"Tags": [{"Key": "team", "Value": f"t{number}"}], "AllocatedUsageQuantity": 1} for number in range(3)
    ]
    usage: list[dict[str, object]] = [{"Dimension": name, "UsageAllocations": allocations} for name in names]
    results = [{"UsageRecord": each, "Status": "Success"} for each in usage[:-1]]
    response = {"Results": results, "UnprocessedRecords": usage[-1:]}

    outcome = outcome_of(marked(response, *names))

    assert outcome.metering_response == response
    assert [entry.reason for entry in outcome.dimensions] == [None] * 23 + ["Unprocessed"]


@pytest.mark.parametrize(
    ("statuses", "expected"),
    [
        (["Success", "DuplicateRecord"], METERED),
        (["DuplicateRecord", "Success"], METERED),
        (["Success"], METERED),
        (["DuplicateRecord"], ("failed", [("failed", "DuplicateRecord")])),
    ],
)
def test_a_dimension_that_was_billed_once_is_never_called_failed(statuses: list[str], expected: Told) -> None:
    """An answer can list a dimension more than once; failed usage is sent again as a whole."""
    results = [result("m", status) for status in statuses]

    assert told(marked({"Results": results, "UnprocessedRecords": [{"Dimension": "m"}]})) == expected


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"code": "ThrottlingException", "message": "Rate exceeded"}, "ThrottlingException"),
        ({"name": "TimeoutError", "$metadata": {}}, "TimeoutError"),
        ({"errno": -104, "code": "ECONNRESET", "name": "Error"}, "ECONNRESET"),
        ({"code": None, "name": "InvalidProductCodeException"}, "InvalidProductCodeException"),
    ],
)
def test_an_exception_fails_every_dimension_for_its_code(response: dict[str, object], reason: str) -> None:
    for text in (json.dumps(response), json.dumps(json.dumps(response))):
        assert told(marked(text, "m", "n")) == ("failed", [("failed", reason)] * 2)


def test_an_answer_stored_as_a_map_is_read_like_text() -> None:
    named: AttributeValueTypeDef = {"M": {"Dimension": {"S": "m"}}}
    results: AttributeValueTypeDef = {"L": [{"M": {"UsageRecord": named, "Status": {"S": "Success"}}}]}

    assert told({"dimension_usage": used("m"), "metering_response": {"M": {"Results": results}}}) == METERED


def _list_of(elements: list[AttributeValueTypeDef]) -> AttributeValueTypeDef:
    return {"L": elements}


def _map_of(members: dict[str, AttributeValueTypeDef]) -> AttributeValueTypeDef:
    return {"M": members}


_MEMBERS = [
    *("dimension", "value", "Results", "UnprocessedRecords", "UsageRecord", "Dimension", "Status", "code")
]
_attributes: st.SearchStrategy[AttributeValueTypeDef] = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, st.text()),
        st.builds(lambda number: {"N": str(number)}, st.integers() | st.decimals(-9, 9, places=2)),
        st.sampled_from(
            [{"BOOL": True}, {"B": b"\xff"}, {"NULL": True}, {"NS": ["1", "2.5"]}, {"SS": ["m"]}]
        ),
    ),
    lambda inner: st.one_of(
        st.builds(_list_of, st.lists(inner)),
        st.builds(_map_of, st.dictionaries(st.sampled_from(_MEMBERS), inner)),
    ),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(_MEMBERS), inner),
)


@given(
    item=st.dictionaries(
        st.sampled_from(["dimension_usage", "metering_pending", "metering_failed", "metering_response"]),
        _attributes,
    ),
    response=st.none() | _json.map(json.dumps) | _json.map(json.dumps).map(json.dumps) | st.text(),
)
def test_any_record_has_an_outcome_that_is_json(item: Item, response: str | None) -> None:
    if response is not None:
        item["metering_response"] = {"S": response}

    outcome = outcome_of(item)

    for entry in outcome.dimensions:
        assert (entry.reason is None) == (entry.status is not RecordStatus.FAILED)
        if entry.status is RecordStatus.METERED:
            assert "Success" in str(item["metering_response"])
        json.dumps([entry.dimension, entry.value, entry.reason], ensure_ascii=False).encode()
    json.dumps(outcome.metering_response, ensure_ascii=False, allow_nan=False).encode()
