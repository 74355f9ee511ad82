"""GET /listMeteringRecords/{customerIdentifier}?transaction_id=: the record that holds an entry."""

from __future__ import annotations

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import Api, buyer, buyers, usage


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
    assert (answer.status, answer.body["next_token"]) == (200, None)
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
    created = str(inserted.request_time - 2_000)
    key = {"customerIdentifier": {"S": "c"}, "create_timestamp": {"N": created}}
    assert dynamodb.get_item(TableName=METERING_TABLE_NAME, Key=key)["Item"]
    dynamodb.delete_item(TableName=METERING_TABLE_NAME, Key=key)

    assert values(inserted, "c", "t1") == []
