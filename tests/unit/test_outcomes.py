"""The outcome of a record and of its dimensions, from what the hourly job stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from metering_handlers.models import RecordStatus
from metering_handlers.outcomes import outcome_of
from tests.unit.metering_responses import MARKED

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
def test_each_dimension_has_the_outcome_that_the_stored_answer_names(
    name: str, expected: tuple[str, list[tuple[str, str | None]]]
) -> None:
    item: Item = {"dimension_usage": used("metered_1_id", "metered_3_id"), **MARKED[name]}

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
    "response",
    [
        # Cut off, as by an editor of the table.
        MARKED["CustomerNotSubscribed"]["metering_response"]["S"][:-20],
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
        "[" * 200 + "]" * 200,
        "[" * 900 + "]" * 900,
        {"Results": "none", "UnprocessedRecords": None},
        {"Results": [], "UnprocessedRecords": []},
        {"Results": [None, "m", {}, {"UsageRecord": "m", "Status": "Success"}]},
        {"Results": [result("m", None), result(["m"], "Success"), result("m", "")]},
        {"UnprocessedRecords": [None, "m", {"Dimension": None}]},
        # Another dimension's outcome; a dimension that has the name of an exception's member.
        {"Results": [result("other", "CustomerNotSubscribed")], "code": "CustomerNotSubscribed"},
    ],
)
def test_the_flag_decides_where_the_answer_does_not_name_the_dimension(response: object) -> None:
    assert told(marked(response, failed=False)) == ("metered", [("metered", None)])
    assert told(marked(response, failed=True)) == ("failed", [("failed", "Unknown")])
    json.loads(to_json(outcome_of(marked(response)).metering_response), parse_constant=pytest.fail)


def test_text_that_is_not_json_is_shown_as_it_is_stored() -> None:
    assert outcome_of(marked("billed by hand")).metering_response == "billed by hand"
    assert outcome_of(marked('{"Results": [')).metering_response == '{"Results": ['
    assert outcome_of(marked('"{\\"Results\\": ["')).metering_response == '{"Results": ['


def test_text_that_can_be_parsed_but_not_serialized_again_is_not_parsed() -> None:
    """Python parses hundreds of arrays within each other; pydantic serializes 254."""
    text = "[" * 300 + "]" * 300

    assert outcome_of(marked(text)).metering_response == text


@pytest.mark.parametrize(
    "results", [["Success", "DuplicateRecord"], ["DuplicateRecord", "Success"], ["Success", "Success"]]
)
def test_a_dimension_that_was_billed_once_is_never_called_failed(results: list[str]) -> None:
    response = {
        "Results": [result("m", status) for status in results],
        "UnprocessedRecords": [{"Dimension": "m"}],
    }

    assert told(marked(response, failed=True)) == ("metered", [("metered", None)])


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
        assert told(marked(text, failed=False, dimensions=("m", "n"))) == expected


def test_a_record_without_dimensions_has_the_outcome_of_its_flag_or_exception() -> None:
    assert told({}) == ("metered", [])
    assert told({"metering_pending": {"S": "true"}}) == ("pending", [])
    assert told({"metering_failed": {"BOOL": True}}) == ("failed", [])
    assert told({"metering_response": MARKED[EXCEPTIONS[0]]["metering_response"]}) == ("failed", [])


@pytest.mark.parametrize(
    "odd",
    [
        {"metering_pending": {"BOOL": True}},
        {"metering_pending": {"S": "TRUE"}},
        {"metering_failed": {"S": "true"}},
        {"metering_failed": {"NULL": True}},
    ],
)
def test_only_the_values_that_the_job_reads_and_writes_count(odd: Item) -> None:
    assert told({"dimension_usage": used("m"), **odd}) == ("metered", [("metered", None)])


def test_an_answer_stored_as_a_map_is_read_like_text() -> None:
    item: Item = {
        "dimension_usage": used("m"),
        "metering_response": {
            "M": {
                "Results": {
                    "L": [
                        {
                            "M": {
                                "UsageRecord": {"M": {"Dimension": {"S": "m"}}},
                                "Status": {"S": "DuplicateRecord"},
                            }
                        }
                    ]
                }
            }
        },
    }

    assert told(item) == ("failed", [("failed", "DuplicateRecord")])


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
        json.dumps([entry.dimension, entry.value, entry.reason], ensure_ascii=False).encode()
    json.dumps(outcome.metering_response, ensure_ascii=False, allow_nan=False).encode()
