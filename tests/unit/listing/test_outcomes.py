"""The outcome of a record and of its dimensions, from what the hourly job stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from metering_handlers.contract.queries import RecordStatus
from metering_handlers.listing.outcomes import outcome_of
from tests.unit.listing.metering_responses import MARKED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Item = dict[str, AttributeValueTypeDef]

EXCEPTIONS = ["exception, release of 2025", "exception, release of April 2026"]


def used(*dimensions: str) -> AttributeValueTypeDef:
    return {"L": [{"M": {"dimension": {"S": name}, "value": {"N": "10"}}} for name in dimensions]}


def marked(response: object, *, failed: bool = False, dimensions: tuple[str, ...] = ("m",)) -> Item:
    """Build a record as the job marks it; a response that is text goes as it is, another one as JSON."""
    text = response if isinstance(response, str) else json.dumps(response)
    return {
        "dimension_usage": used(*dimensions),
        "metering_failed": {"BOOL": failed},
        "metering_response": {"S": text},
    }


def result(dimension: object, status: object) -> dict[str, object]:
    return {"UsageRecord": {"Dimension": dimension, "Quantity": 10}, "Status": status}


def told(item: Item) -> tuple[str, list[tuple[str, str | None]]]:
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
@pytest.mark.parametrize("flag", [{}, {"BOOL": True}, {"BOOL": False}, {"S": "true"}])
def test_the_stored_answer_decides_whatever_the_flag_says(
    name: str, expected: tuple[str, list[tuple[str, str | None]]], flag: AttributeValueTypeDef
) -> None:
    item: Item = {"dimension_usage": used("metered_1_id", "metered_3_id"), **MARKED[name]}
    del item["metering_failed"]
    if flag:
        item["metering_failed"] = flag

    assert told(item) == expected


@pytest.mark.parametrize("name", MARKED)
def test_both_layers_of_the_stored_answer_are_parsed(name: str) -> None:
    response = outcome_of(MARKED[name]).metering_response

    assert isinstance(response, dict)
    if name in EXCEPTIONS:
        assert "InvalidUsageDimensionException" in (response.get("code"), response.get("name"))
    else:
        assert isinstance(response["Results"], list)


@pytest.mark.parametrize("name", MARKED)
def test_a_pending_record_is_pending_whatever_else_it_holds(name: str) -> None:
    item: Item = {
        "dimension_usage": used("metered_1_id", "other"),
        "metering_pending": {"S": "true"},
        **MARKED[name],
    }

    assert told(item) == ("pending", [("pending", None)] * 2)


@pytest.mark.parametrize(
    "pending", [{"S": "TRUE"}, {"S": "true "}, {"S": "false"}, {"BOOL": True}, {"NULL": True}]
)
def test_only_the_value_that_the_job_reads_makes_a_record_pending(pending: AttributeValueTypeDef) -> None:
    item: Item = {"dimension_usage": used("m"), "metering_pending": pending}

    assert told(item) == ("failed", [("failed", "Unknown")])


@pytest.mark.parametrize("flag", [{}, {"BOOL": True}, {"BOOL": False}])
def test_without_an_answer_nothing_is_metered(flag: AttributeValueTypeDef) -> None:
    item: Item = {"dimension_usage": used("m")} | ({"metering_failed": flag} if flag else {})

    assert told(item) == ("failed", [("failed", "Unknown")])


@pytest.mark.parametrize(
    "response",
    [
        # Cut off, as by an editor of the table.
        MARKED["every dimension billed"]["metering_response"]["S"][:-20],
        MARKED[EXCEPTIONS[0]]["metering_response"]["S"][:-20],
        "",
        "billed by hand",
        '"billed by hand"',
        "null",
        "7",
        "[]",
        "{}",
        '{"Quantity": NaN}',
        '{"Quantity": 1e999}',
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
@pytest.mark.parametrize("failed", [False, True])
def test_a_dimension_that_no_readable_answer_names_is_not_metered(response: object, failed: bool) -> None:
    item = marked(response, failed=failed)

    assert told(item) == ("failed", [("failed", "Unknown")])
    json.loads(to_json(outcome_of(item).metering_response), parse_constant=pytest.fail)


def test_one_dimension_without_evidence_makes_the_record_failed() -> None:
    item = marked({"Results": [result("m", "Success"), result("n", "Success")]}, dimensions=("m", "x", "n"))

    assert told(item) == ("failed", [("metered", None), ("failed", "Unknown"), ("metered", None)])


def test_a_dimension_that_is_not_text_has_no_evidence() -> None:
    item = marked({"Results": [result("7", "Success")]})
    item["dimension_usage"] = {"L": [{"M": {"dimension": {"N": "7"}, "value": {"N": "1"}}}]}

    assert told(item) == ("failed", [("failed", "Unknown")])


@pytest.mark.parametrize(
    ("item", "status"),
    [
        ({"metering_pending": {"S": "true"}}, "pending"),
        ({}, "failed"),
        ({"metering_failed": {"BOOL": False}}, "failed"),
        (MARKED[EXCEPTIONS[0]], "failed"),
        # An answer about other dimensions: those of the customer's other records of the hour.
        (MARKED["every dimension billed"], "failed"),
        (MARKED["every dimension billed"] | {"dimension_usage": {"L": [{"S": "junk"}]}}, "failed"),
    ],
)
def test_a_record_without_dimensions_is_pending_or_failed(item: Item, status: str) -> None:
    assert told(item) == (status, [])


def test_the_answer_for_24_dimensions_with_allocations_is_read() -> None:
    """As the job of License ARNs stores it: 292 JSON arrays and objects."""
    names = [f"d{number}" for number in range(24)]

    def of(name: str, status: str) -> dict[str, object]:
        tags = [{"Tags": [{"Key": "team", "Value": f"t{n}"}], "AllocatedUsageQuantity": 1} for n in range(3)]
        usage_record = {
            "Timestamp": "2026-11-23T10:00:00.000Z",
            "LicenseArn": "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
            "Dimension": name,
            "Quantity": 3,
            "UsageAllocations": [{**tag} for tag in tags],
        }
        return {"UsageRecord": usage_record, "MeteringRecordId": "35155d37", "Status": status}

    unprocessed = of(names[-1], "")["UsageRecord"]
    response = {
        "Results": [of(name, "Success") for name in names[:-1]],
        "UnprocessedRecords": [unprocessed],
    }

    outcome = outcome_of(marked(response, dimensions=tuple(names)))

    assert outcome.metering_response == response
    assert [(entry.status.value, entry.reason) for entry in outcome.dimensions] == [
        ("metered", None)
    ] * 23 + [("failed", "Unprocessed")]


def test_text_that_is_not_json_is_shown_as_it_is_stored() -> None:
    assert outcome_of(marked("billed by hand")).metering_response == "billed by hand"
    assert outcome_of(marked('{"Results": [')).metering_response == '{"Results": ['
    assert outcome_of(marked('"{\\"Results\\": ["')).metering_response == '{"Results": ['


@pytest.mark.parametrize(
    "results", [["Success", "DuplicateRecord"], ["DuplicateRecord", "Success"], ["Success", "Success"]]
)
def test_a_dimension_that_was_billed_once_is_never_called_failed(results: list[str]) -> None:
    """An answer can list a dimension more than once; failed usage is sent again as a whole."""
    response = {
        "Results": [result("m", status) for status in results],
        "UnprocessedRecords": [{"Dimension": "m"}],
    }

    assert told(marked(response, failed=True)) == ("metered", [("metered", None)])


def test_of_two_failures_the_status_says_more_than_unprocessed() -> None:
    response = {"Results": [result("m", "DuplicateRecord")], "UnprocessedRecords": [{"Dimension": "m"}]}

    assert told(marked(response)) == ("failed", [("failed", "DuplicateRecord")])


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        ({"code": "ThrottlingException", "message": "Rate exceeded"}, "ThrottlingException"),
        ({"name": "TimeoutError", "$metadata": {}}, "TimeoutError"),
        ({"errno": -104, "code": "ECONNRESET", "name": "Error"}, "ECONNRESET"),
        ({"code": None, "name": "InvalidProductCodeException"}, "InvalidProductCodeException"),
    ],
)
def test_an_exception_fails_every_dimension_for_its_code_or_name(
    response: dict[str, object], reason: str
) -> None:
    expected = ("failed", [("failed", reason)] * 2)

    for text in (json.dumps(response), json.dumps(json.dumps(response))):
        assert told(marked(text, dimensions=("m", "n"))) == expected


def test_the_values_are_those_stored() -> None:
    item: Item = {
        "dimension_usage": {
            "L": [
                {"M": {"dimension": {"S": "m"}, "value": {"N": "2147483647"}}},
                {"M": {"dimension": {"N": "7"}, "value": {"N": "1.5"}}},
                {"M": {}},
                {"S": "junk"},
            ]
        }
    }

    entries = outcome_of(item).dimensions

    assert [(entry.dimension, entry.value) for entry in entries] == [
        ("m", 2147483647),
        (7, 1.5),
        (None, None),
    ]


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        ("Success", ("metered", [("metered", None)])),
        ("DuplicateRecord", ("failed", [("failed", "DuplicateRecord")])),
    ],
)
def test_an_answer_stored_as_a_map_is_read_like_text(
    status: str, expected: tuple[str, list[tuple[str, str | None]]]
) -> None:
    one: AttributeValueTypeDef = {
        "M": {"UsageRecord": {"M": {"Dimension": {"S": "m"}}}, "Status": {"S": status}}
    }
    item: Item = {"dimension_usage": used("m"), "metering_response": {"M": {"Results": {"L": [one]}}}}

    assert told(item) == expected


def _list_of(elements: list[AttributeValueTypeDef]) -> AttributeValueTypeDef:
    return {"L": elements}


def _map_of(members: dict[str, AttributeValueTypeDef]) -> AttributeValueTypeDef:
    return {"M": members}


_MEMBERS = ["dimension", "value", "Results", "Status", "code"]
_attributes: st.SearchStrategy[AttributeValueTypeDef] = st.recursive(
    st.one_of(
        st.builds(lambda text: {"S": text}, st.text()),
        st.builds(lambda number: {"N": str(number)}, st.integers() | st.decimals(-9, 9, places=2)),
        st.builds(lambda flag: {"BOOL": flag}, st.booleans()),
        st.builds(lambda data: {"B": data}, st.binary()),
        st.sampled_from([{"NULL": True}, {"NS": ["1", "2.5"]}, {"BS": [b"\x00"]}, {"SS": ["m"]}]),
    ),
    lambda inner: st.one_of(
        st.builds(_list_of, st.lists(inner)),
        st.builds(_map_of, st.dictionaries(st.sampled_from(_MEMBERS), inner)),
    ),
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["Results", "UnprocessedRecords", "UsageRecord", "Dimension", "Status", "code", "name"]
            ),
            inner,
        )
    ),
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
