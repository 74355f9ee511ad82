"""GET /listMeteringRecords/{customerIdentifier}."""

import base64
import json
from typing import TYPE_CHECKING, cast
from unittest.mock import Mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from metering_handlers import list_metering_records
from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from tests.unit.lambda_calls import FUNCTION_TIME_MS, Api, buyer, usage
from tests.unit.metering_responses import MARKED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.unit.conftest import StoredItems

METERING_RESPONSE = '{"Results":[{"MeteringRecordId":"35155d37","Status":"Success"}],"UnprocessedRecords":[]}'


@pytest.fixture
def metered(api: Api, stored: "StoredItems") -> Api:
    """Store a pending, two metered and a failed record of customer c, at 1000, 2000, 3000 and 4000 ms."""
    customer: dict[str, AttributeValueTypeDef] = {"customerIdentifier": {"S": "c"}}
    stored.put(**customer, create_timestamp={"N": "1000"}, metering_pending={"S": "true"})
    stored.put(
        **customer,
        create_timestamp={"N": "2000"},
        metering_failed={"BOOL": False},
        metering_response={"S": METERING_RESPONSE},
    )
    stored.put(**customer, create_timestamp={"N": "3000"})
    stored.put(**customer, create_timestamp={"N": "4000"}, metering_failed={"BOOL": True})
    return api


def timestamps(api: Api, **query: str | list[str]) -> list[int]:
    answer = api.records("c", **query)
    assert answer.status == 200, answer.body
    return [record["create_timestamp"] for record in answer.body["records"]]


def test_an_inserted_record_is_listed_as_pending(api: Api) -> None:
    api.insert_one("c", usage(m=3))

    (record,) = api.records("c").body["records"]
    request_id = record.pop("request_id")
    assert request_id
    assert record == {
        "customerIdentifier": "c",
        "create_timestamp": api.request_time,
        "dimension_usage": [{"dimension": "m", "value": 3, "status": "pending"}],
        "status": "pending",
        "metering_response": None,
    }


def test_a_list_reads_what_was_inserted_a_moment_before(
    metered: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto is always consistent, so the test looks at the request to DynamoDB.
    consistent: list[bool] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: BaseClient, operation: str, parameters: dict[str, object]) -> object:
        consistent.append(parameters.get("ConsistentRead") is True)
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)

    for query in ({}, {"status": "metered"}, {"limit": "1"}):
        timestamps(metered, **query)

    assert consistent
    assert all(consistent)


@pytest.mark.parametrize(
    "error",
    [
        ClientError({"Error": {"Code": "ThrottlingException"}}, "Query"),
        # As botocore reads a 5xx that did not come from DynamoDB itself.
        ClientError({"Error": {"Code": "503"}, "ResponseMetadata": {"HTTPStatusCode": 503}}, "Query"),  # type: ignore[typeddict-item]
        ReadTimeoutError(endpoint_url="https://dynamodb"),
    ],
    ids=["throttled", "503", "time-out"],
)
def test_a_table_that_does_not_answer_in_time_is_a_503(
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(BaseClient, "_make_api_call", Mock(side_effect=error))
    api.context.remaining_ms = ATTEMPT_BUDGET_MS

    answer = api.records("c")

    assert answer.status == 503
    assert answer.body["type"] == "urn:marketplace-metering:problem:unavailable"
    assert answer.headers["Retry-After"] == "5"


def answer_in_pieces(monkeypatch: pytest.MonkeyPatch, *errors: Exception | None) -> list[str]:
    """Let DynamoDB return one item for each query, or the error in its place; return the list of calls."""
    calls: list[str] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]
    to_come = iter(errors)

    def answer(client: BaseClient, operation: str, parameters: dict[str, object]) -> object:
        calls.append(operation)
        if (error := next(to_come, None)) is not None:
            raise error
        return call(client, operation, parameters | {"Limit": 1})

    monkeypatch.setattr(BaseClient, "_make_api_call", answer)
    return calls


def test_a_query_that_dynamodb_did_not_answer_is_repeated(
    metered: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = timestamps(metered)
    lost = ReadTimeoutError(endpoint_url="https://dynamodb")
    queries = answer_in_pieces(monkeypatch, lost, None, lost, lost)

    assert timestamps(metered) == expected
    assert len(queries) == 3 + len(expected)


@pytest.mark.parametrize("query", [{}, {"group_by": "dimension"}])
def test_what_was_read_before_dynamodb_stopped_answering_is_answered_with_a_token(
    metered: Api, monkeypatch: pytest.MonkeyPatch, query: dict[str, str]
) -> None:
    expected = len(timestamps(metered))
    answer_in_pieces(monkeypatch, None, None, ReadTimeoutError(endpoint_url="https://dynamodb"))
    metered.context.remaining_ms = ATTEMPT_BUDGET_MS

    first = metered.records("c", **query)
    rest = metered.records("c", **query, next_token=first.body["next_token"])

    def count(body: dict[str, object]) -> object:
        return body["records"] if "totals" in body else len(cast("list[object]", body["records"]))

    assert (first.status, count(first.body), count(rest.body)) == (200, 2, expected - 2)
    assert rest.body["next_token"] is None


def test_a_customer_without_records_has_an_empty_list(api: Api) -> None:
    answer = api.records("nobody")

    assert (answer.status, answer.body) == (200, {"records": [], "next_token": None})


def test_what_the_job_made_of_a_record_is_told_with_its_response_parsed(metered: Api) -> None:
    records = metered.records("c").body["records"]

    assert [record["status"] for record in records] == ["pending", "metered", "metered", "failed"]
    assert records[1]["metering_response"] == json.loads(METERING_RESPONSE)
    assert "request_id" not in records[1]


@pytest.mark.parametrize(
    ("status", "expected"), [("pending", [1000]), ("metered", [2000, 3000]), ("failed", [4000])]
)
def test_the_status_filter_keeps_what_has_that_status(metered: Api, status: str, expected: list[int]) -> None:
    assert timestamps(metered, status=status) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"from_": "2000"}, [2000, 3000, 4000]),
        ({"to": "2000"}, [1000, 2000]),
        ({"from_": "2000", "to": "3000"}, [2000, 3000]),
        ({"from_": "1970-01-01T00:00:02Z", "to": "1970-01-01T01:00:03+01:00"}, [2000, 3000]),
        ({"from_": "1970-01-01T00:00:02.001"}, [3000, 4000]),
        ({"to": "1970-01-01"}, []),
        ({"from_": "2001", "to": "2999"}, []),
    ],
)
def test_from_and_to_are_instants_and_both_included(
    metered: Api, query: dict[str, str | list[str]], expected: list[int]
) -> None:
    assert timestamps(metered, **query) == expected


def test_order_desc_lists_the_newest_first(metered: Api) -> None:
    assert timestamps(metered, order="desc") == [4000, 3000, 2000, 1000]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("status", [None, "pending"])
@pytest.mark.parametrize("limit", ["1", "3", "7", "8"])
def test_pages_follow_each_other_without_gap_or_overlap(
    api: Api, order: str, status: str | None, limit: str
) -> None:
    api.insert_many({"buyers": [buyer("c", m=index) for index in range(7)]})
    query = {"order": order, "limit": limit} | ({"status": status} if status else {})
    collected: list[int] = []
    page = api.records("c", **query).body
    while True:
        assert len(page["records"]) <= int(limit)
        collected += [record["create_timestamp"] for record in page["records"]]
        if page["next_token"] is None:
            break
        page = api.records("c", **query, next_token=page["next_token"]).body

    expected = [api.request_time + offset for offset in range(7)]
    assert collected == (expected if order == "asc" else expected[::-1])


def listed_in_pages(api: Api, **query: str) -> list[int]:
    """Follow the pages of customer c's records to the last one; return the timestamps."""
    collected: list[int] = []
    token: dict[str, str | list[str]] = {}
    while True:
        page = api.records("c", **query, **token).body
        assert len(page["records"]) <= int(query.get("limit", "100"))
        collected += [record["create_timestamp"] for record in page["records"]]
        if page["next_token"] is None:
            return collected
        token = {"next_token": page["next_token"]}


@pytest.fixture
def every_outcome(api: Api, stored: "StoredItems") -> tuple[Api, dict[str, list[int]]]:
    """Store 21 records of customer c with every outcome in turn; return the timestamps by status."""
    status_of = dict.fromkeys(MARKED, "failed") | {"pending": "pending", "every dimension billed": "metered"}
    expected: dict[str, list[int]] = {"pending": [], "metered": [], "failed": []}
    for number in range(21):
        name = list(status_of)[number % len(status_of)]
        stored.put(
            customerIdentifier={"S": "c"},
            create_timestamp={"N": str(number)},
            dimension_usage={
                "L": [
                    {"M": {"dimension": {"S": dimension}, "value": {"N": "1"}}}
                    for dimension in ("metered_1_id", "metered_3_id")
                ]
            },
            **MARKED.get(name, {"metering_pending": {"S": "true"}}),
        )
        expected[status_of[name]].append(number)
    return api, expected


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("status", ["pending", "metered", "failed"])
@pytest.mark.parametrize("limit", ["1", "3", "15", "1000"])
def test_filtered_pages_list_each_record_with_that_outcome_once(
    every_outcome: tuple[Api, dict[str, list[int]]], order: str, status: str, limit: str
) -> None:
    api, expected = every_outcome

    collected = listed_in_pages(api, order=order, status=status, limit=limit)

    assert collected == (expected[status] if order == "asc" else expected[status][::-1])


@pytest.mark.parametrize("status", [None, "pending", "metered", "failed"])
@pytest.mark.parametrize("remaining_ms", [0, FUNCTION_TIME_MS])
def test_pages_are_exact_when_dynamodb_returns_a_few_items_at_a_time(
    every_outcome: tuple[Api, dict[str, list[int]]],
    monkeypatch: pytest.MonkeyPatch,
    status: str | None,
    remaining_ms: int,
) -> None:
    """Without time left, a page ends after one answer of DynamoDB's, which may hold no match."""
    api, expected = every_outcome
    api.context.remaining_ms = remaining_ms
    client = list_metering_records.metering_table._client
    query = client.query
    monkeypatch.setattr(client, "query", lambda **request: query(**request | {"Limit": 5}))

    for limit in ("4", "5", "100"):
        collected = listed_in_pages(api, limit=limit, **({"status": status} if status else {}))
        assert collected == (expected[status] if status else list(range(21)))


def test_a_full_page_of_the_last_records_has_no_token(metered: Api) -> None:
    page = metered.records("c", limit="1", status="failed").body

    assert [record["create_timestamp"] for record in page["records"]] == [4000]
    assert page["next_token"] is None


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"status": "billed"}, "not_a_choice"),
        ({"order": "up"}, "not_a_choice"),
        ({"limit": "0"}, "too_small"),
        ({"limit": "1001"}, "too_large"),
        ({"limit": "ten"}, "not_an_integer"),
        ({"limit": ["1", "2"]}, "not_an_integer"),
        ({"from_": "yesterday"}, "invalid_instant"),
        ({"to": "-1"}, "invalid_instant"),
        ({"from_": str(2**53)}, "too_large"),
        ({"from_": "1969-12-31T23:59:59Z"}, "too_small"),
        ({"from_": "2", "to": "1"}, "empty_range"),
        ({"statsu": "pending"}, "unknown_parameter"),
        ({"group_by": "customer"}, "not_a_choice"),
        ({"status": "failed", "group_by": "dimension"}, "not_with_group_by"),
        ({"order": "asc", "group_by": "dimension"}, "not_with_group_by"),
        ({"limit": "100", "group_by": "dimension"}, "not_with_group_by"),
    ],
)
def test_a_bad_query_value_is_a_400_that_names_it(
    api: Api, query: dict[str, str | list[str]], code: str
) -> None:
    answer = api.records("c", **query)

    assert answer.status == 400
    name = next(iter(query)).rstrip("_")
    assert answer.problem_codes() == {(f"/{name}", code)}


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "=" * 8,
        "!!!!",
        encoded([]),
        encoded({"customer": "c", "listing": "asc"}),
        encoded({"customer": "c", "listing": "asc", "after": 1}),
        encoded({"customer": "c", "listing": "asc", "after": "1; DROP"}),
        encoded({"customer": "c", "listing": "asc", "after": "9" * 49}),
        encoded({"customer": "c", "listing": "asc", "after": "1e200"}),
        encoded({"customer": "c", "listing": "asc", "after": "1", "more": 1}),
        encoded({"customer": "other", "listing": "asc", "after": "1"}),
        encoded({"customer": "c", "listing": "desc", "after": "1"}),
        "A" * 2_000,
    ],
)
def test_a_token_that_is_not_of_this_listing_is_a_400(metered: Api, token: str) -> None:
    answer = metered.records("c", next_token=token)

    assert answer.status == 400
    assert [error["pointer"] for error in answer.body["errors"]] == ["/next_token"]


def test_a_token_outside_the_asked_range_is_a_400(metered: Api) -> None:
    token = metered.records("c", limit="1").body["next_token"]

    assert metered.records("c", from_="2000", next_token=token).status == 400


def test_odd_records_are_listed_as_well_as_they_can_be(api: Api, stored: "StoredItems") -> None:
    customer: dict[str, AttributeValueTypeDef] = {"customerIdentifier": {"S": "c"}}
    stored.put(**customer, create_timestamp={"N": "1606176000"})
    stored.put(**customer, create_timestamp={"N": "1606176000.5"}, dimension_usage={"S": "none"})
    stored.put(
        **customer,
        create_timestamp={"N": "1606176000000000000"},
        metering_pending={"BOOL": True},
        metering_failed={"S": "true"},
        metering_response={"S": '{"Quantity": NaN}'},
        request_id={"NS": ["1", "2"]},
        dimension_usage={
            "L": [
                {"M": {"dimension": {"S": "m"}, "value": {"N": "1.5"}}},
                {"M": {"dimension": {"S": "m"}, "value": {"S": "7"}}},
                {"M": {"value": {"N": "12345678901234567890"}}},
                {"M": {"dimension": {"B": b"\x00"}, "value": {"NULL": True}}},
                {"S": "junk"},
            ]
        },
    )
    stored.put(
        **customer, create_timestamp={"N": "1e30"}, metering_response={"M": {"a": {"L": [{"N": "1"}]}}}
    )

    answer = api.records("c")

    assert answer.status == 200
    seconds, decimal, nanoseconds, huge = answer.body["records"]
    assert seconds["create_timestamp"] == 1606176000
    assert (seconds["dimension_usage"], seconds["status"]) == ([], "metered")
    assert (decimal["create_timestamp"], decimal["dimension_usage"]) == (1606176000.5, [])
    assert nanoseconds["create_timestamp"] == 1606176000000000000
    assert nanoseconds["status"] == "metered"
    assert nanoseconds["metering_response"] == '{"Quantity": NaN}'
    assert sorted(nanoseconds["request_id"]) == [1, 2]
    assert nanoseconds["dimension_usage"] == [
        {"dimension": "m", "value": 1.5, "status": "metered"},
        {"dimension": "m", "value": "7", "status": "metered"},
        {"dimension": None, "value": 12345678901234567890, "status": "metered"},
        {"dimension": "AA==", "value": None, "status": "metered"},
    ]
    assert (huge["create_timestamp"], huge["metering_response"]) == (10**30, {"a": [1]})


def test_odd_timestamps_page_as_well(api: Api, stored: "StoredItems") -> None:
    for timestamp in ("-5", "1606176000.5", "1606176000000000001"):
        stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": timestamp})

    seen = []
    token: dict[str, str | list[str]] = {}
    for _ in range(3):
        page = api.records("c", limit="1", **token).body
        seen.append(page["records"][0]["create_timestamp"])
        token = {"next_token": page["next_token"]}

    assert seen == [-5, 1606176000.5, 1606176000000000001]
