"""GET /listMeteringRecords/{customerIdentifier}?group_by=dimension."""

from __future__ import annotations

import json
from typing import Any

import pytest
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api
from tests.unit.listing.metering_responses import MARKED, PENDING, START, record

NONE = {"records": 0, "quantity": 0}
MAX_BYTES = "metering_handlers.listing.totals.MAX_ANSWER_BYTES"


def totals(api: Api, **query: str) -> Any:  # noqa: ANN401 - parsed JSON
    answer = api.records("c", group_by="dimension", **query)
    assert answer.status == 200, answer.body
    return answer.body


def pages(api: Api) -> list[Any]:
    found = [totals(api)]
    while (token := found[-1]["next_token"]) is not None:
        found.append(totals(api, next_token=token))
    return found


@pytest.fixture
def every_outcome(api: Api, stored: StoredItems) -> Api:
    """Store a pending record and one of each outcome, with the quantities 1, 2, 4, … and 100 of the other."""
    for number, marks in enumerate([PENDING, *MARKED.values()]):
        stored.put(**record(START + number, marks, metered_3_id=100, metered_1_id=2**number))
    return api


def test_usage_is_added_up_by_dimension_and_status(every_outcome: Api) -> None:
    assert totals(every_outcome) == {
        "totals": [
            {
                "dimension": "metered_1_id",
                "pending": {"records": 1, "quantity": 1},
                "metered": {"records": 3, "quantity": 2 + 4 + 16},
                "failed": {"records": 3, "quantity": 8 + 32 + 64},
            },
            {
                "dimension": "metered_3_id",
                "pending": {"records": 1, "quantity": 100},
                "metered": {"records": 2, "quantity": 200},
                "failed": {"records": 4, "quantity": 400},
            },
        ],
        "record_count": 7,
        "next_token": None,
    }


def test_from_and_to_limit_what_is_added_up(every_outcome: Api) -> None:
    page = totals(every_outcome, from_=str(START + 1), to=str(START + 1))

    assert page["record_count"] == 1
    assert [row["metered"]["quantity"] for row in page["totals"]] == [2, 100]
    none = {"totals": [], "record_count": 0, "next_token": None}
    assert totals(every_outcome, from_=str(START + 9)) == none


def test_sums_are_exact_and_count_whole_numbers_only(api: Api, stored: StoredItems) -> None:
    """Whole numbers beyond what a double holds; whatever else was stored by hand adds nothing."""
    whole = [{"N": str(2**53)}, {"N": "1"}, {"N": "9" * 38}, {"N": "3.0"}, {"N": "1E+2"}]
    odd = [{"N": "1.5"}, {"S": "7"}, {"BOOL": True}, {"NULL": True}, {"L": [{"N": "7"}]}]
    values: list[AttributeValueTypeDef] = [*whole, *odd]  # type: ignore[list-item]
    for number, value in enumerate(values):
        stored.put(**record(number, PENDING, m=value))

    (row,) = totals(api)["totals"]

    assert row["pending"] == {"records": 10, "quantity": 2**53 + 1 + int("9" * 38) + 103}


def test_odd_records_do_not_break_the_sum(api: Api, stored: StoredItems) -> None:
    usage: list[AttributeValueTypeDef] = [
        {"S": "junk"},
        {"M": {"value": {"N": "1"}}},
        {"M": {"dimension": {"N": "5"}, "value": {"N": "2"}}},
        {"M": {"dimension": {"S": "m"}, "value": {"N": "3"}}},
        {"M": {"dimension": {"S": "m"}, "value": {"N": "4"}}},
    ]
    stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": "1"})
    stored.put(**record("2.5", {"dimension_usage": {"S": "none"}}))
    stored.put(**record(3, {"dimension_usage": {"L": usage}}))

    none = {"pending": NONE, "metered": NONE}
    assert totals(api) == {
        "totals": [
            {"dimension": "m", **none, "failed": {"records": 1, "quantity": 7}},
            {"dimension": None, **none, "failed": {"records": 1, "quantity": 3}},
        ],
        "record_count": 3,
        "next_token": None,
    }


def test_totals_are_cut_before_the_answer_outgrows_lambda(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MAX_BYTES, 5_000)
    for number in range(20):
        stored.put(**record(number, PENDING, **{f"d{number}": 1, "same": 1}))

    found = pages(api)

    assert 1 < len(found[0]["totals"]) < 20
    assert len(json.dumps(json.dumps(found[0]))) < 5_000 + 500
    assert sum(page["record_count"] for page in found) == 20
    rows = [row for page in found for row in page["totals"]]
    assert sum(row["pending"]["records"] for row in rows if row["dimension"] == "same") == 20
    assert all(row["pending"]["records"] == row["pending"]["quantity"] for row in rows)
    others = [row["dimension"] for row in rows if row["dimension"] != "same"]
    assert sorted(others) == sorted(f"d{number}" for number in range(20))


def test_a_page_of_totals_has_a_record(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MAX_BYTES, 100)
    stored.put(**record(0, PENDING, m=1))
    stored.put(**record(1, PENDING, n=1))

    assert [[row["dimension"] for row in page["totals"]] for page in pages(api)] == [["m"], ["n"]]
