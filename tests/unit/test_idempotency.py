"""The Idempotency-Key contract of both inserts."""

from typing import TYPE_CHECKING

import pytest

from metering_handlers import record_writer
from tests.environment import IDEMPOTENCY_TABLE_NAME
from tests.unit.lambda_calls import Answer, Api, buyer, usage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.conftest import StoredItems

KEY = {"Idempotency-Key": "order 66"}
REPRESENTATION = {"Prefer": "return=representation"}
DAY_MS = 24 * 60 * 60 * 1000
SEVERAL_CHUNKS = {"buyers": [buyer(f"c{number % 150}", m=number) for number in range(300)]}


def is_replay(answer: Answer) -> bool:
    return answer.headers.get("Idempotent-Replayed") == "true"


def test_a_repeat_with_the_same_key_writes_nothing_and_says_so(api: Api, stored: "StoredItems") -> None:
    first = api.insert_one("c", usage(m=1), KEY)
    second = api.insert_one("c", usage(m=1), KEY)

    assert (first.status, first.body, is_replay(first)) == (200, {}, False)
    assert (second.status, second.body, is_replay(second)) == (200, {}, True)
    assert len(stored.all()) == 1


def test_a_replay_answers_the_keys_that_the_first_call_answered(api: Api, stored: "StoredItems") -> None:
    # The first call's records have to move, and the replay comes later.
    api.insert_one("c1", usage(m=1))
    first = api.insert_many(SEVERAL_CHUNKS, KEY | REPRESENTATION)
    api.request_time += 60_000

    second = api.insert_many(SEVERAL_CHUNKS, KEY | REPRESENTATION)

    assert (second.status, is_replay(second)) == (200, True)
    assert second.body == first.body
    assert len(first.body["records"]) == 300
    assert len(stored.all()) == 301


def test_json_that_says_the_same_is_the_same_payload(api: Api) -> None:
    api.insert_one("c", '{"metered_dimensions":[{"dimension_name":"m","dimension_value":1}]}', KEY)

    answer = api.insert_one(
        "%63", '{ "metered_dimensions": [{"dimension_value": 1, "dimension_name": "\\u006d"}] }', KEY
    )

    assert (answer.status, is_replay(answer)) == (200, True)


@pytest.mark.parametrize(
    ("customer", "payload"), [("c", usage(m=2)), ("d", usage(m=1)), ("c", usage(n=1)), ("c", usage(m=1, n=1))]
)
def test_another_payload_under_a_used_key_is_refused_and_not_written(
    api: Api, stored: "StoredItems", customer: str, payload: object
) -> None:
    api.insert_one("c", usage(m=1), KEY)

    answer = api.insert_one(customer, payload, KEY)

    assert answer.status == 422
    assert answer.body["type"] == "urn:marketplace-metering:problem:idempotency-key-reused"
    assert "Use a new key" in answer.body["detail"]
    assert len(stored.all()) == 1


def test_another_payload_never_joins_a_key_however_many_chunks_it_has(
    api: Api, stored: "StoredItems"
) -> None:
    api.insert_one("c", usage(m=1), KEY)

    assert api.insert_many(SEVERAL_CHUNKS, KEY).status == 422

    assert len(stored.all()) == 1


def test_a_retry_that_is_divided_into_other_chunks_is_another_payload(
    api: Api, stored: "StoredItems", monkeypatch: pytest.MonkeyPatch
) -> None:
    """After an upgrade, it does not have the chunks that the rows describe."""
    api.insert_many(SEVERAL_CHUNKS, KEY)
    monkeypatch.setattr(record_writer, "MAX_TRANSACTION_ACTIONS", 51)

    assert api.insert_many(SEVERAL_CHUNKS, KEY).status == 422

    assert len(stored.all()) == 300


def test_the_same_entries_in_another_order_are_another_payload(api: Api) -> None:
    buyers = [buyer("c", m=1), buyer("d", m=1)]
    api.insert_many({"buyers": buyers}, KEY)

    assert api.insert_many({"buyers": buyers[::-1]}, KEY).status == 422


def test_a_key_is_forgotten_after_a_day_though_its_row_is_still_there(
    api: Api, stored: "StoredItems", dynamodb: "DynamoDBClient"
) -> None:
    api.insert_one("c", usage(m=1), KEY)
    api.request_time += DAY_MS - 1000
    assert is_replay(api.insert_one("c", usage(m=1), KEY))
    api.request_time += 1000

    again = api.insert_one("c", usage(m=1), KEY)
    other_payload = api.insert_one("c", usage(m=2), KEY)

    assert (again.status, is_replay(again)) == (200, False)
    assert other_payload.status == 422
    assert len(stored.all()) == 2
    rows = dynamodb.scan(TableName=IDEMPOTENCY_TABLE_NAME)["Items"]
    assert [int(row["expiration"]["N"]) for row in rows] == [(api.request_time + DAY_MS) // 1000]


def test_all_rows_of_a_key_expire_together_with_the_first(api: Api, dynamodb: "DynamoDBClient") -> None:
    api.insert_many(SEVERAL_CHUNKS, KEY)
    # As after a crash between the chunks.
    dynamodb.delete_item(TableName=IDEMPOTENCY_TABLE_NAME, Key={"id": {"S": "order 66#2"}})
    api.request_time += 3_600_000

    api.insert_many(SEVERAL_CHUNKS, KEY)

    rows = dynamodb.scan(TableName=IDEMPOTENCY_TABLE_NAME)["Items"]
    assert len(rows) == 4
    assert len({row["expiration"]["N"] for row in rows}) == 1


def test_without_a_key_equal_requests_are_two_usages(api: Api, stored: "StoredItems") -> None:
    api.insert_one("c", usage(m=1))
    answer = api.insert_one("c", usage(m=1))

    assert not is_replay(answer)
    assert len(stored.all()) == 2


def test_the_request_id_resumes_a_request_that_had_no_key(api: Api, stored: "StoredItems") -> None:
    api.insert_many(SEVERAL_CHUNKS)
    request_id = stored.all()[0]["request_id"]["S"]

    assert is_replay(api.insert_many(SEVERAL_CHUNKS, {"Idempotency-Key": request_id}))

    assert len(stored.all()) == 300


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "caf\u00e9"])
def test_a_key_that_breaks_a_rule_is_a_400_and_nothing_is_written(
    api: Api, stored: "StoredItems", key: str
) -> None:
    answer = api.insert_one("c", usage(m=1), {"Idempotency-Key": key})

    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert (error["location"], error["pointer"]) == ("header", "/idempotency-key")
    assert stored.all() == []


@pytest.mark.parametrize("key", ["x", "~ !", "x" * 255, "a#1", "a#1#0"])
def test_any_printable_ascii_text_is_a_key(api: Api, key: str) -> None:
    assert not is_replay(api.insert_one("c", usage(m=1), {"Idempotency-Key": key}))
    assert is_replay(api.insert_one("c", usage(m=1), {"Idempotency-Key": key}))


@pytest.mark.parametrize(
    "keys",
    [{"Idempotency-Key": ["a", "b"]}, {"Idempotency-Key": ["a"], "idempotency-key": ["b"]}],
    ids=["one spelling", "two spellings"],
)
def test_two_keys_in_one_request_are_refused(
    api: Api, stored: "StoredItems", keys: dict[str, list[str]]
) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1))
    event["multiValueHeaders"] |= keys

    from metering_handlers import insert_metering_record  # noqa: PLC0415

    answer = api.call(insert_metering_record.lambda_handler, event)

    assert answer.status == 400
    assert stored.all() == []
