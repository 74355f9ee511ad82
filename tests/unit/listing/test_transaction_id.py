"""GET /listMeteringRecords/{customerIdentifier}?transaction_id=: the record that holds an entry."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from botocore.client import BaseClient

from metering_handlers.contract.queries import NOT_WITH_TRANSACTION_ID
from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import Api, buyer, usage

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

NONE: dict[str, object] = {"records": [], "next_token": None}
KNOWN_SECONDS = 90 * 86_400 + 3_600
"""How long an id counts: an hour longer than TRANSACTION_ID_DAYS."""


@pytest.fixture
def inserted(api: Api) -> Api:
    """Store three records of customer c, 1 s apart, with the ids t0 to t2; and one of customer d with t1."""
    for number in range(3):
        api.insert_one("c", {**usage(m=number), "transaction_id": f"t{number}"})
        api.request_time += 1_000
    api.insert_many({"buyers": [{**buyer("d", m=7), "transaction_id": "t1"}]})
    return api


def values(api: Api, customer: str, transaction_id: str) -> list[int]:
    """Return the quantities of the records that hold an entry."""
    answer = api.records(customer, transaction_id=transaction_id)
    assert answer.status == 200, answer.body
    assert answer.body["next_token"] is None
    return [record["dimension_usage"][0]["value"] for record in answer.body["records"]]


def test_the_one_record_that_holds_the_entry_is_listed(inserted: Api) -> None:
    assert values(inserted, "c", "t1") == [1]
    assert values(inserted, "d", "t1") == [7]


def test_entries_that_were_added_up_are_in_one_record(api: Api) -> None:
    entries = [{**buyer("c", m=2), "transaction_id": each} for each in ("a b", "a+b&c")]
    api.insert_many({"buyers": [*entries, buyer("c", m=1)]})

    assert values(api, "c", "a b") == values(api, "c", "a+b&c") == [5]


@pytest.mark.parametrize(("customer", "transaction_id"), [("c", "t3"), ("d", "t0"), ("nobody", "t1")])
def test_an_id_that_is_not_known_of_the_customer_has_none(
    inserted: Api, customer: str, transaction_id: str
) -> None:
    answer = inserted.records(customer, transaction_id=transaction_id)

    assert (answer.status, answer.body) == (200, NONE)


def test_an_id_whose_record_is_gone_has_none(inserted: Api, dynamodb: DynamoDBClient) -> None:
    key = {"customerIdentifier": "c", "create_timestamp": inserted.request_time - 2_000}
    assert inserted.records("c", transaction_id="t1").body["records"][0].items() >= key.items()
    dynamodb.delete_item(
        TableName=METERING_TABLE_NAME,
        Key={"customerIdentifier": {"S": "c"}, "create_timestamp": {"N": str(key["create_timestamp"])}},
    )

    assert inserted.records("c", transaction_id="t1").body == NONE


def test_an_id_is_known_to_lists_as_long_as_to_inserts(api: Api) -> None:
    """Both compare the expiry with the request's time, in whole seconds, and count the last one."""
    body = {**usage(m=1), "transaction_id": "t"}
    api.request_time -= api.request_time % 1_000
    api.insert_one("c", body)

    api.request_time += KNOWN_SECONDS * 1_000 + 999
    assert values(api, "c", "t") == [1]
    assert len(api.insert_one("c", body).body["duplicates"]) == 1

    api.request_time += 1
    assert api.records("c", transaction_id="t").body == NONE
    assert api.insert_one("c", body).body == {}


def test_the_row_and_the_record_are_read_strongly_consistent(
    inserted: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    consistent: dict[str, list[object]] = {}
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(
        client: BaseClient, operation: str, parameters: Mapping[str, dict[str, dict[str, object]]]
    ) -> object:
        requests = parameters["RequestItems"].values() if operation == "BatchGetItem" else [parameters]
        consistent[operation] = [request.get("ConsistentRead") for request in requests]
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)
    assert values(inserted, "c", "t1") == [1]

    assert consistent == {"BatchGetItem": [True], "Query": [True]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("status", "pending"),
        ("from", "2026-11-23"),
        ("to", "2026-11-23"),
        ("order", "asc"),
        ("limit", "100"),
        ("group_by", "dimension"),
        ("next_token", "x"),
    ],
)
def test_a_parameter_that_chooses_records_is_a_400(inserted: Api, name: str, value: str) -> None:
    assert name in NOT_WITH_TRANSACTION_ID

    answer = inserted.records("c", transaction_id="t1", **{name: value})

    assert answer.status == 400
    assert answer.problem_codes() == {(f"/{name}", "not_with_transaction_id")}


def test_all_parameters_that_choose_records_are_named(inserted: Api) -> None:
    answer = inserted.records("c", transaction_id="t1", limit="5", group_by="dimension")

    assert {pointer for pointer, _ in answer.problem_codes()} == {"/limit", "/group_by"}


@pytest.mark.parametrize(
    ("transaction_id", "code"),
    [
        ("", "too_short"),
        ("t" * 256, "too_long"),
        ("é", "not_printable_ascii"),
        ("t\n", "not_printable_ascii"),
        (["t1", "t2"], "not_a_string"),
    ],
)
def test_what_no_entry_can_have_as_its_id_is_a_400(
    api: Api, transaction_id: str | list[str], code: str
) -> None:
    answer = api.records("c", transaction_id=transaction_id)

    assert answer.status == 400
    assert answer.problem_codes() == {("/transaction_id", code)}
