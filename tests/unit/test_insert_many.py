"""POST /insertMeteringRecords."""

from typing import TYPE_CHECKING

import pytest

from metering_handlers import insertion
from tests.unit.lambda_calls import Api, buyer, usage
from tools.example_requests import INSERT_MANY

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems


def test_the_seeds_example_the_same_customer_twice_gives_two_records(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_many(INSERT_MANY)

    assert (answer.status, answer.body) == (200, {})
    assert sorted(item["create_timestamp"]["N"] for item in stored.all()) == [
        str(api.request_time),
        str(api.request_time + 1),
    ]


def test_the_representation_keeps_the_order_of_the_entries(api: Api) -> None:
    customers = [f"c{index % 3}" for index in range(250)]

    answer = api.insert_many(
        {"buyers": [buyer(customer, m=1) for customer in customers]}, {"Prefer": "return=representation"}
    )

    records = answer.body["records"]
    assert [record["customerIdentifier"] for record in records] == customers
    for customer in set(customers):
        timestamps = [
            record["create_timestamp"] for record in records if record["customerIdentifier"] == customer
        ]
        assert timestamps == [api.request_time + offset for offset in range(len(timestamps))]


@pytest.mark.parametrize("count", [1, 99, 100, 101, 250])
def test_one_entry_is_one_record(api: Api, stored: "StoredItems", count: int) -> None:
    buyers = [buyer(f"c{index % 7}", m=index) for index in range(count)]

    assert api.insert_many({"buyers": buyers}).status == 200

    quantities = [int(item["dimension_usage"]["L"][0]["M"]["value"]["N"]) for item in stored.all()]
    assert sorted(quantities) == list(range(count))


def test_two_requests_of_one_millisecond_for_one_customer_lose_nothing(
    api: Api, stored: "StoredItems"
) -> None:
    for first in (0, 150):
        buyers = [buyer("c", m=index) for index in range(first, first + 150)]
        assert api.insert_many({"buyers": buyers}).status == 200

    quantities = [int(item["dimension_usage"]["L"][0]["M"]["value"]["N"]) for item in stored.all()]
    assert sorted(quantities) == list(range(300))


def test_more_buyers_than_a_request_may_have_are_refused(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_many({"buyers": [buyer("c", m=1)] * 10_001})

    assert answer.status == 422
    assert answer.problem_codes() == {("/buyers", "too_many")}
    assert "10000" in answer.body["errors"][0]["detail"]
    assert stored.all() == []


def test_one_bad_entry_refuses_the_request_whole(api: Api, stored: "StoredItems") -> None:
    answer = api.insert_many(
        {
            "buyers": [
                buyer("good", m=1),
                buyer("b d", m=True),
                {**buyer("c", m=1), "customerId": "c"},
                {"customerIdentifier": 12, **usage(m=1)},
                {
                    "customerIdentifier": "c",
                    "metered_dimensions": [{"dimension_name": "m", "dimension_value": 1}] * 2,
                },
            ]
        }
    )

    assert answer.status == 422
    assert answer.problem_codes() == {
        ("/buyers/1/customerIdentifier", "not_printable_ascii"),
        ("/buyers/1/metered_dimensions/0/dimension_value", "not_an_integer"),
        ("/buyers/2/customerId", "unknown_field"),
        ("/buyers/3/customerIdentifier", "not_a_string"),
        ("/buyers/4/metered_dimensions/1/dimension_name", "duplicate_dimension"),
    }
    assert "/buyers/4/metered_dimensions/0/dimension_name" in answer.body["errors"][-1]["detail"]
    assert stored.all() == []


@pytest.mark.parametrize("identifier", ["", "a%b", "a\tb", "é", "x" * 129])
def test_an_identifier_in_a_body_is_held_to_the_same_rules(
    api: Api, stored: "StoredItems", identifier: str
) -> None:
    answer = api.insert_many({"buyers": [buyer(identifier, m=1)]})

    assert answer.status == 422
    assert [error["pointer"] for error in answer.body["errors"]] == ["/buyers/0/customerIdentifier"]
    assert stored.all() == []


@pytest.mark.parametrize("body", [{}, {"buyers": []}, {"buyers": None}, {"buyers": {}}, {"buyers": [[]]}])
def test_a_body_without_buyers_is_refused(api: Api, body: dict[str, object]) -> None:
    assert api.insert_many(body).status == 422


def test_an_answer_to_a_hopeless_request_stays_small_and_says_how_much_it_leaves_out(api: Api) -> None:
    answer = api.insert_many({"buyers": [buyer("", m=-1)] * 10_000})

    assert answer.status == 422
    assert len(answer.body["errors"]) == 1_000
    assert "20000" in answer.body["detail"]


def test_a_huge_unknown_field_name_does_not_blow_up_the_answer(api: Api) -> None:
    answer = api.insert_many({"buyers": [buyer("c", m=1)], "x" * 1_000_000: 1})

    assert answer.status == 422
    assert len(answer.body["errors"][0]["pointer"]) < 300


def test_a_record_leaps_over_many_of_its_customer_rather_than_stepping_from_one_to_the_next(
    api: Api, stored: "StoredItems"
) -> None:
    api.insert_many({"buyers": [buyer("c", m=1)] * 2_000})
    transactions = 0

    def count(**_: object) -> None:
        nonlocal transactions
        transactions += 1

    client = insertion.record_writer.client
    client.meta.events.register("before-call.dynamodb.TransactWriteItems", count)
    api.request_time += 10
    answer = api.insert_one("c", usage(m=2))
    client.meta.events.unregister("before-call.dynamodb.TransactWriteItems", count)

    assert answer.status == 200
    assert len(stored.all()) == 2_001
    assert transactions < 20
