"""GET /listMeteringRecords/{customerIdentifier}?transaction_id=: the record that holds an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import Api, buyer, buyers, usage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

NONE: dict[str, object] = {"records": [], "next_token": None}
KNOWN_SECONDS = 90 * 86_400 + 3_600
"""How long an id counts: an hour longer than TRANSACTION_ID_DAYS."""


@pytest.fixture
def inserted(api: Api) -> Api:
    """Store three records of customer c, 1 s apart, with the ids t0 to t2; and one of customer d with t1."""
    for number in range(3):
        api.insert_one("c", usage(f"t{number}", m=number))
        api.request_time += 1_000
    api.insert_many(buyers(buyer("d", "t1", m=7)))
    return api


def values(api: Api, customer: str, transaction_id: str) -> list[int]:
    """Return the quantities of the records that hold an entry."""
    answer = api.records(customer, transaction_id=transaction_id)
    assert answer.status == 200, answer.body
    assert answer.body["next_token"] is None
    return [record["dimension_usage"][0]["value"] for record in answer.body["records"]]


@pytest.mark.parametrize(
    ("customer", "transaction_id", "expected"),
    [("c", "t1", [1]), ("d", "t1", [7]), ("c", "t3", []), ("d", "t0", []), ("nobody", "t1", [])],
)
def test_only_the_record_that_holds_the_entry_is_listed(
    inserted: Api, customer: str, transaction_id: str, expected: list[int]
) -> None:
    assert values(inserted, customer, transaction_id) == expected


def test_entries_that_were_added_up_are_in_one_record(api: Api) -> None:
    api.insert_many(buyers(buyer("c", "a b", m=2), buyer("c", "a+b&c", m=2), buyer("c", m=1)))

    assert values(api, "c", "a b") == values(api, "c", "a+b&c") == [5]


def test_an_id_whose_record_is_gone_has_none(inserted: Api, dynamodb: DynamoDBClient) -> None:
    created = inserted.request_time - 2_000
    assert inserted.records("c", transaction_id="t1").body["records"][0]["create_timestamp"] == created
    dynamodb.delete_item(
        TableName=METERING_TABLE_NAME,
        Key={"customerIdentifier": {"S": "c"}, "create_timestamp": {"N": str(created)}},
    )

    assert inserted.records("c", transaction_id="t1").body == NONE


def test_an_id_is_known_to_lists_as_long_as_to_inserts(api: Api) -> None:
    """Both compare the expiry with the request's time, in whole seconds, and count the last one."""
    body = usage("t", m=1)
    api.request_time -= api.request_time % 1_000
    api.insert_one("c", body)

    api.request_time += KNOWN_SECONDS * 1_000 + 999
    assert values(api, "c", "t") == [1]
    assert len(api.insert_one("c", body).body["duplicates"]) == 1

    api.request_time += 1
    assert api.records("c", transaction_id="t").body == NONE
    assert api.insert_one("c", body).body == {}


@pytest.mark.parametrize(
    ("transaction_id", "code"),
    [
        ("", "too_short"),
        ("t" * 256, "too_long"),
        ("é", "not_printable_ascii"),
        ("t\n", "not_printable_ascii"),
        (["t1", "t2"], "repeated"),
    ],
)
def test_what_no_entry_can_have_as_its_id_is_a_400(
    api: Api, transaction_id: str | list[str], code: str
) -> None:
    answer = api.records("c", transaction_id=transaction_id)

    assert answer.status == 400
    assert answer.problem_codes() == {("/transaction_id", code)}
