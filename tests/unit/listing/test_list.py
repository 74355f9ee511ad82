"""GET /listMeteringRecords/{customerIdentifier}: parameters, answers and errors."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from metering_handlers.contract.queries import NOT_WITH_GROUP_BY, NOT_WITH_TRANSACTION_ID
from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from tests.unit.lambda_calls import Api, usage
from tests.unit.listing.metering_responses import MARKED, PENDING, record

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.unit.conftest import StoredItems

    Query = dict[str, str | list[str]]

START = 1_795_446_956_551
CUSTOMER: dict[str, AttributeValueTypeDef] = {"customerIdentifier": {"S": "c"}}


@pytest.fixture
def marked(api: Api, stored: StoredItems) -> Api:
    """Store a pending, a metered and two failed records of customer c, one each second."""
    for second, marks in enumerate([PENDING, MARKED["every dimension billed"], MARKED["unprocessed"], {}]):
        stored.put(**record(START + 1_000 * second, marks, metered_3_id=20))
    return api


def iso(milliseconds_after_start: int) -> str:
    return datetime.fromtimestamp((START + milliseconds_after_start) / 1_000, UTC).isoformat()


def test_an_inserted_record_is_listed_as_pending(api: Api) -> None:
    api.insert_one("c", usage(m=3))

    (listed,) = api.records("c").body["records"]
    assert listed.pop("request_id")
    assert listed == {
        "customerIdentifier": "c",
        "create_timestamp": api.request_time,
        "dimension_usage": [{"dimension": "m", "value": 3, "status": "pending"}],
        "status": "pending",
        "metering_response": None,
    }


def test_a_marked_record_is_listed_with_its_outcome(marked: Api) -> None:
    assert marked.records("c").body["records"][2] == {
        "customerIdentifier": "c",
        "create_timestamp": START + 2_000,
        "dimension_usage": [
            {"dimension": "metered_3_id", "value": 20, "status": "failed", "reason": "Unprocessed"}
        ],
        "status": "failed",
        "metering_response": json.loads(MARKED["unprocessed"]["metering_response"]["S"]),
    }


def test_a_customer_without_records_has_an_empty_list(api: Api) -> None:
    answer = api.records("nobody")

    assert (answer.status, answer.body) == (200, {"records": [], "next_token": None})


@pytest.mark.parametrize(
    "query",
    [{}, {"status": "metered"}, {"limit": "1"}, {"group_by": "dimension"}, {"transaction_id": "t"}],
)
def test_all_reads_are_strongly_consistent(api: Api, monkeypatch: pytest.MonkeyPatch, query: Query) -> None:
    """Moto is always consistent, so the test looks at the requests to DynamoDB."""
    api.insert_one("c", usage("t", m=1))
    consistent: list[object] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: BaseClient, operation: str, parameters: dict[str, dict[str, object]]) -> object:
        requests = parameters["RequestItems"].values() if operation == "BatchGetItem" else [parameters]
        consistent.extend(request.get("ConsistentRead") for request in requests)  # type: ignore[attr-defined]
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)
    assert api.records("c", **query).status == 200

    assert consistent == [True] * (2 if "transaction_id" in query else 1)


@pytest.mark.parametrize("query", [{}, {"group_by": "dimension"}, {"transaction_id": "t"}])
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
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, query: Query
) -> None:
    monkeypatch.setattr(BaseClient, "_make_api_call", Mock(side_effect=error))
    api.context.remaining_ms = ATTEMPT_BUDGET_MS

    answer = api.records("c", **query)

    assert answer.status == 503
    assert answer.body["type"] == "urn:marketplace-metering:problem:unavailable"
    assert answer.headers["Retry-After"] == "5"


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "pending"}, [0]),
        ({"status": "metered"}, [1]),
        ({"status": "failed"}, [2, 3]),
        ({"order": "asc"}, [0, 1, 2, 3]),
        ({"order": "desc"}, [3, 2, 1, 0]),
        ({"from_": str(START + 1_000)}, [1, 2, 3]),
        ({"to": str(START + 1_000)}, [0, 1]),
        ({"from_": str(START + 1_000), "to": str(START + 2_000)}, [1, 2]),
        ({"from_": str(START + 1_001), "to": str(START + 1_999)}, []),
        ({"from_": iso(1_000), "to": iso(2_000).replace("+00:00", "Z")}, [1, 2]),
        # Without an offset it is UTC; with one it is not.
        ({"from_": iso(1_001).removesuffix("+00:00")}, [2, 3]),
        ({"to": iso(3_600_000 + 1_000).replace("+00:00", "+01:00")}, [0, 1]),
        ({"from_": "2026-11-23", "to": "2026-11-24"}, [0, 1, 2, 3]),
        ({"from_": "2026-11-24"}, []),
        ({"from_": "1970-01-01", "to": "1999-12-31T23:59:59Z"}, []),
        ({"from_": "946684800000"}, [0, 1, 2, 3]),
    ],
)
def test_a_list_has_what_its_parameters_ask_for(marked: Api, query: Query, expected: list[int]) -> None:
    answer = marked.records("c", **query)

    assert answer.status == 200, answer.body
    listed = [(each["create_timestamp"] - START) // 1_000 for each in answer.body["records"]]
    assert listed == expected


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ({"status": "billed"}, "not_a_choice"),
        ({"order": "up"}, "not_a_choice"),
        ({"limit": "0"}, "too_small"),
        ({"limit": "1001"}, "too_large"),
        ({"limit": "ten"}, "not_an_integer"),
        ({"limit": ["1", "2"]}, "repeated"),
        ({"from_": "yesterday"}, "invalid_instant"),
        ({"from_": ""}, "invalid_instant"),
        ({"from_": "9" * 5_000}, "invalid_instant"),
        ({"to": "-1"}, "invalid_instant"),
        ({"to": ["2026-11-23", "2026-11-24"]}, "repeated"),
        ({"status": ["pending", "failed"]}, "repeated"),
        ({"next_token": ["x", "y"]}, "repeated"),
        ({"from_": str(2**53)}, "too_large"),
        # Nanoseconds.
        ({"from_": f"{START}000000"}, "too_large"),
        ({"from_": "1969-12-31T23:59:59Z"}, "too_small"),
        ({"from_": str(START + 1), "to": str(START)}, "empty_range"),
        ({"statsu": "pending"}, "unknown_parameter"),
        ({"group_by": "customer"}, "not_a_choice"),
    ],
)
def test_a_bad_query_value_is_a_400_that_names_it(api: Api, query: Query, code: str) -> None:
    answer = api.records("c", **query)

    assert answer.status == 400
    name = next(iter(query)).rstrip("_")
    assert answer.problem_codes() == {(f"/{name}", code)}


def test_a_presigned_url_is_not_refused_for_its_own_parameters(marked: Api) -> None:
    presigned = {f"X-Amz-{name}": "x" for name in ("Algorithm", "Credential", "Date", "Expires", "Signature")}

    assert len(marked.records("c", status="failed", **presigned).body["records"]) == 2


@pytest.mark.parametrize(
    ("name", "digits"),
    [("from_", "1795446956"), ("to", "20261123"), ("from_", "946684799999"), ("to", "0")],
)
def test_digits_before_the_year_2000_are_a_400_that_says_why(api: Api, name: str, digits: str) -> None:
    answer = api.records("c", **{name: digits})

    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert error["code"] == "not_milliseconds"
    assert "seconds" in error["detail"]
    assert "hyphens" in error["detail"]


@pytest.mark.parametrize(
    ("query", "others"),
    [({"group_by": "dimension"}, NOT_WITH_GROUP_BY), ({"transaction_id": "t"}, NOT_WITH_TRANSACTION_ID)],
)
def test_every_parameter_that_conflicts_is_named(api: Api, query: Query, others: tuple[str, ...]) -> None:
    given = {
        "status": "pending",
        "from": "2026-11-23",
        "to": "2026-11-23",
        "order": "asc",
        "limit": "100",
        "group_by": "dimension",
        "next_token": "x",
    }

    answer = api.records("c", **query, **{name: given[name] for name in others})

    (name,) = query
    assert answer.status == 400
    assert answer.problem_codes() == {(f"/{other}", f"not_with_{name}") for other in others}


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


POSITION = {"customer": "c", "kind": "asc", "after": str(START)}


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "=" * 8,
        encoded([]),
        encoded({"customer": "c", "kind": "asc"}),
        encoded(POSITION | {"after": 1}),
        encoded(POSITION | {"after": "1; DROP"}),
        encoded(POSITION | {"after": "9" * 49}),
        encoded(POSITION | {"after": "1e200"}),
        encoded(POSITION | {"more": 1}),
        encoded(POSITION | {"customer": "other"}),
        "A" * 2_000,
    ],
)
def test_a_token_that_is_not_of_this_customer_is_a_400(marked: Api, token: str) -> None:
    answer = marked.records("c", next_token=token)

    assert answer.status == 400
    assert [error["pointer"] for error in answer.body["errors"]] == ["/next_token"]


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({}, 200),
        ({"order": "desc"}, 400),
        ({"group_by": "dimension"}, 400),
        ({"from_": str(START + 1)}, 400),
        ({"to": str(START - 1)}, 400),
    ],
)
def test_a_token_continues_only_the_list_it_comes_from(marked: Api, query: Query, status: int) -> None:
    assert marked.records("c", **query, next_token=encoded(POSITION)).status == status


def test_odd_records_are_listed_as_well_as_they_can_be(api: Api, stored: StoredItems) -> None:
    stored.put(**CUSTOMER, create_timestamp={"N": "1606176000"})
    stored.put(**CUSTOMER, create_timestamp={"N": "1606176000.5"}, dimension_usage={"S": "none"})
    stored.put(
        **CUSTOMER,
        create_timestamp={"N": "1606176000000000000"},
        metering_response={"S": '{"Quantity": NaN}'},
        request_id={"NS": ["1", "2"]},
        dimension_usage={
            "L": [
                {"M": {"dimension": {"S": "m"}, "value": {"N": "1.5"}}},
                {"M": {"dimension": {"S": "m"}, "value": {"S": "7"}}},
                {"M": {"dimension": {"S": "m"}, "value": {"BOOL": True}}},
                {"M": {"value": {"N": "12345678901234567890"}}},
                {"M": {"dimension": {"B": b"\x00"}, "value": {"NULL": True}}},
                {"M": {}},
                {"S": "junk"},
            ]
        },
    )
    stored.put(
        **CUSTOMER, create_timestamp={"N": "1e30"}, metering_response={"M": {"a": {"L": [{"N": "1"}]}}}
    )

    answer = api.records("c")

    assert answer.status == 200
    in_seconds, decimal, nanoseconds, huge = answer.body["records"]
    assert in_seconds["create_timestamp"] == 1606176000
    assert (in_seconds["dimension_usage"], in_seconds["status"]) == ([], "failed")
    assert (decimal["create_timestamp"], decimal["dimension_usage"]) == (1606176000.5, [])
    assert nanoseconds["create_timestamp"] == 1606176000000000000
    assert nanoseconds["metering_response"] == '{"Quantity": NaN}'
    assert "request_id" not in nanoseconds
    assert [(entry["dimension"], entry["value"]) for entry in nanoseconds["dimension_usage"]] == [
        ("m", 1.5),
        ("m", None),
        ("m", None),
        (None, 12345678901234567890),
        ("AA==", None),
        (None, None),
    ]
    assert (huge["create_timestamp"], huge["metering_response"]) == (10**30, {"a": [1]})


@pytest.mark.parametrize("levels", [254, 255, 5_000, 100_000])
@pytest.mark.parametrize("stringified", [False, True])
def test_no_nesting_of_a_stored_answer_is_a_500(
    api: Api, stored: StoredItems, levels: int, stringified: bool
) -> None:
    """Pydantic serializes 255 levels, of which the record is one; Python parses some thousands."""
    nested = "[" * levels + "]" * levels
    text = json.dumps(nested) if stringified else nested
    stored.put(**CUSTOMER, create_timestamp={"N": "1"}, metering_response={"S": text})

    answer = api.records("c")

    assert answer.status == 200
    (listed,) = answer.body["records"]
    assert listed["metering_response"] == (json.loads(nested) if levels <= 254 else nested)
