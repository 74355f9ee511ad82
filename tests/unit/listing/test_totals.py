"""GET /listMeteringRecords/{customerIdentifier}?group_by=dimension."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.listing.metering_responses import MARKED, PENDING, record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.unit.conftest import StoredItems
    from tests.unit.lambda_calls import Api

START = 1_795_446_956_551
NONE = {"records": 0, "quantity": 0}


def totals(api: Api, **query: str | list[str]) -> Any:  # noqa: ANN401 - parsed JSON
    answer = api.records("c", group_by="dimension", **query)
    assert answer.status == 200, answer.body
    return answer.body


def in_pages(api: Api, **query: str) -> tuple[dict[str, dict[str, dict[str, int]]], int, int]:
    """Add the pages up, as a caller does; return the totals, the records, and how many pages there were."""
    added: dict[str, dict[str, dict[str, int]]] = {}
    records = pages = 0
    token: dict[str, str] = {}
    while True:
        page = totals(api, **query, **token)
        records, pages = records + page["record_count"], pages + 1
        for row in page["totals"]:
            total = added.setdefault(row.pop("dimension"), {})
            for status, part in row.items():
                before = total.setdefault(status, dict(NONE))
                total[status] = {name: before[name] + part[name] for name in NONE}
        if page["next_token"] is None:
            return added, records, pages
        token = {"next_token": page["next_token"]}


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
    assert totals(every_outcome, from_=str(START + 9)) == {
        "totals": [],
        "record_count": 0,
        "next_token": None,
    }


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
    stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": "1"})
    stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": "2.5"}, dimension_usage={"S": "none"})
    stored.put(
        customerIdentifier={"S": "c"},
        create_timestamp={"N": "3"},
        dimension_usage={
            "L": [
                {"S": "junk"},
                {"M": {"value": {"N": "1"}}},
                {"M": {"dimension": {"N": "5"}, "value": {"N": "2"}}},
                {"M": {"dimension": {"S": "m"}, "value": {"N": "3"}}},
                {"M": {"dimension": {"S": "m"}, "value": {"N": "4"}}},
            ]
        },
    )

    assert totals(api) == {
        "totals": [
            {"dimension": "m", "pending": NONE, "metered": NONE, "failed": {"records": 1, "quantity": 7}},
            {"dimension": None, "pending": NONE, "metered": NONE, "failed": {"records": 1, "quantity": 3}},
        ],
        "record_count": 3,
        "next_token": None,
    }


def test_totals_are_cut_before_the_answer_outgrows_lambda(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering_handlers.listing.totals.MAX_ANSWER_BYTES", 5_000)
    for number in range(20):
        stored.put(**record(number, PENDING, **{f"d{number}": 1, "same": 1}))

    first = totals(api)
    assert 1 < len(first["totals"]) < 20
    assert len(json.dumps(json.dumps(first))) < 5_000 + 500

    added, records, _ = in_pages(api)
    assert records == 20
    assert added["same"]["pending"] == {"records": 20, "quantity": 20}
    assert all(added[f"d{number}"]["pending"] == {"records": 1, "quantity": 1} for number in range(20))


def test_a_page_of_totals_has_at_least_one_record(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering_handlers.listing.totals.MAX_ANSWER_BYTES", 100)
    stored.put(**record(0, PENDING, m=1))
    stored.put(**record(1, PENDING, n=1))

    added, records, pages = in_pages(api)

    assert (sorted(added), records, pages) == (["m", "n"], 2, 2)
