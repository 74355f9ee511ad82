"""GET /listMeteringRecords/{customerIdentifier}?group_by=dimension."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from metering_handlers import list_metering_records
from tests.unit.lambda_calls import Api, usage
from tests.unit.listing.metering_responses import MARKED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.unit.conftest import StoredItems

    Item = dict[str, AttributeValueTypeDef]

PENDING: Item = {"metering_pending": {"S": "true"}}
START = 1_795_446_956_551
NONE = {"records": 0, "quantity": 0}


def put(stored: StoredItems, timestamp: int, marks: Item, **values: AttributeValueTypeDef) -> None:
    """Store a record of customer c: dimension names and their values."""
    stored.put(
        customerIdentifier={"S": "c"},
        create_timestamp={"N": str(timestamp)},
        dimension_usage={
            "L": [{"M": {"dimension": {"S": name}, "value": value}} for name, value in values.items()]
        },
        **marks,
    )


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
        put(stored, START + number, marks, metered_3_id={"N": "100"}, metered_1_id={"N": str(2**number)})
    return api


ALL = {
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


def test_usage_is_added_up_by_dimension_and_by_what_became_of_it(every_outcome: Api) -> None:
    assert totals(every_outcome) == ALL


def test_a_customer_without_records_has_no_totals(api: Api) -> None:
    assert totals(api) == {"totals": [], "record_count": 0, "next_token": None}


def test_from_and_to_limit_what_is_added_up(every_outcome: Api) -> None:
    assert totals(every_outcome, from_=str(START + 1), to=str(START + 1)) == {
        "totals": [
            {
                "dimension": name,
                "pending": NONE,
                "metered": {"records": 1, "quantity": quantity},
                "failed": NONE,
            }
            for name, quantity in [("metered_1_id", 2), ("metered_3_id", 100)]
        ],
        "record_count": 1,
        "next_token": None,
    }


def test_the_sums_are_exact_beyond_what_a_double_holds(api: Api, stored: StoredItems) -> None:
    put(stored, 1, PENDING, m={"N": str(2**53)})
    put(stored, 2, PENDING, m={"N": "1"})
    put(stored, 3, PENDING, m={"N": "9" * 38})

    (row,) = totals(api)["totals"]

    assert row["pending"] == {"records": 3, "quantity": 2**53 + 1 + int("9" * 38)}


def test_an_odd_quantity_counts_its_record_and_adds_nothing(api: Api, stored: StoredItems) -> None:
    odd: list[AttributeValueTypeDef] = [
        {"N": "1.5"},
        {"S": "7"},
        {"BOOL": True},
        {"NULL": True},
        {"L": [{"N": "7"}]},
    ]
    whole: list[AttributeValueTypeDef] = [{"N": "3.0"}, {"N": "1E+2"}]
    for number, value in enumerate(odd + whole):
        put(stored, number, PENDING, m=value)

    assert totals(api)["totals"] == [
        {"dimension": "m", "pending": {"records": 7, "quantity": 103}, "metered": NONE, "failed": NONE}
    ]


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


def test_without_time_the_rest_follows_and_the_sum_of_the_pages_is_exact(
    every_outcome: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = list_metering_records.metering_table._client
    query = client.query
    monkeypatch.setattr(client, "query", lambda **request: query(**request | {"Limit": 2}))
    whole, _, pages = in_pages(every_outcome)
    assert pages == 1

    every_outcome.context.remaining_ms = 0
    added, records, pages = in_pages(every_outcome, to=str(START + 6))

    assert (added, records) == (whole, 7)
    assert pages > 3


def test_totals_of_many_dimensions_are_cut_before_the_answer_outgrows_lambda(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering_handlers.listing.totals.MAX_ANSWER_BYTES", 5_000)
    one: AttributeValueTypeDef = {"N": "1"}
    for number in range(20):
        put(stored, number, PENDING, **{f"d{number}": one, "same": one})

    first = api.records("c", group_by="dimension")
    assert 1 < len(first.body["totals"]) < 20
    assert len(json.dumps(json.dumps(first.body))) < 5_000 + 500

    added, records, _ = in_pages(api)
    assert records == 20
    assert added["same"]["pending"] == {"records": 20, "quantity": 20}
    assert all(added[f"d{number}"]["pending"] == {"records": 1, "quantity": 1} for number in range(20))


def test_a_page_of_totals_has_at_least_one_record(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("metering_handlers.listing.totals.MAX_ANSWER_BYTES", 100)
    put(stored, 0, PENDING, m={"N": "1"})
    put(stored, 1, PENDING, n={"N": "1"})

    added, records, pages = in_pages(api)

    assert (sorted(added), records, pages) == (["m", "n"], 2, 2)


def test_every_conflicting_parameter_is_named(api: Api) -> None:
    answer = api.records("c", group_by="dimension", limit="5", status="failed", order="asc")

    assert answer.status == 400
    assert answer.problem_codes() == {
        ("/status", "not_with_group_by"),
        ("/order", "not_with_group_by"),
        ("/limit", "not_with_group_by"),
    }


def test_a_token_of_a_list_of_records_is_not_one_of_totals(api: Api) -> None:
    for _ in range(2):
        api.insert_one("c", usage(m=1))
    token = api.records("c", limit="1").body["next_token"]
    assert token

    answer = api.records("c", group_by="dimension", next_token=token)

    assert answer.status == 400
    assert [error["pointer"] for error in answer.body["errors"]] == ["/next_token"]
