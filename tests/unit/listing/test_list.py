"""GET /listMeteringRecords/{customerIdentifier}: parameters, answers and errors."""

import base64
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from unittest.mock import Mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from tests.unit.lambda_calls import Api, usage
from tests.unit.listing.metering_responses import MARKED

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.unit.conftest import StoredItems

START = 1_795_446_956_551
CUSTOMER: "dict[str, AttributeValueTypeDef]" = {"customerIdentifier": {"S": "c"}}


@pytest.fixture
def marked(api: Api, stored: "StoredItems") -> Api:
    """Store a pending, a metered and two failed records of customer c, one each second."""
    marks: list[dict[str, AttributeValueTypeDef]] = [
        {"metering_pending": {"S": "true"}},
        MARKED["every dimension billed"],
        MARKED["unprocessed"],
        {},
    ]
    for second, each in enumerate(marks):
        stored.put(
            **CUSTOMER,
            create_timestamp={"N": str(START + 1_000 * second)},
            dimension_usage={"L": [{"M": {"dimension": {"S": "metered_3_id"}, "value": {"N": "20"}}}]},
            **each,
        )
    return api


def seconds(api: Api, **query: str | list[str]) -> list[int]:
    """List customer c's records; return their times, in s after the start."""
    answer = api.records("c", **query)
    assert answer.status == 200, answer.body
    return [(record["create_timestamp"] - START) // 1_000 for record in answer.body["records"]]


def iso(milliseconds_after_start: int) -> str:
    return datetime.fromtimestamp((START + milliseconds_after_start) / 1_000, UTC).isoformat()


def test_an_inserted_record_is_listed_as_pending(api: Api) -> None:
    api.insert_one("c", usage(m=3))

    (record,) = api.records("c").body["records"]
    assert record.pop("request_id")
    assert record == {
        "customerIdentifier": "c",
        "create_timestamp": api.request_time,
        "dimension_usage": [{"dimension": "m", "value": 3, "status": "pending"}],
        "status": "pending",
        "metering_response": None,
    }


def test_a_marked_record_is_listed_with_its_outcome(marked: Api) -> None:
    record = marked.records("c").body["records"][2]

    assert record == {
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


@pytest.mark.parametrize("query", [{}, {"status": "metered"}, {"limit": "1"}, {"group_by": "dimension"}])
def test_every_query_is_strongly_consistent(
    marked: Api, monkeypatch: pytest.MonkeyPatch, query: dict[str, str | list[str]]
) -> None:
    # moto is always consistent, so the test looks at the request to DynamoDB.
    consistent: list[object] = []
    call = BaseClient._make_api_call  # type: ignore[attr-defined]

    def note(client: BaseClient, operation: str, parameters: dict[str, object]) -> object:
        consistent.append(parameters.get("ConsistentRead"))
        return call(client, operation, parameters)

    monkeypatch.setattr(BaseClient, "_make_api_call", note)
    assert marked.records("c", **query).status == 200

    assert consistent == [True]


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
    api: Api, monkeypatch: pytest.MonkeyPatch, error: Exception, query: dict[str, str | list[str]]
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
        # Without an offset it is UTC.
        ({"from_": iso(1_001).removesuffix("+00:00")}, [2, 3]),
        ({"from_": "2026-11-23", "to": "2026-11-24"}, [0, 1, 2, 3]),
        ({"from_": "2026-11-24"}, []),
        ({"from_": "1970-01-01", "to": "1999-12-31T23:59:59Z"}, []),
        ({"from_": "946684800000"}, [0, 1, 2, 3]),
    ],
)
def test_a_list_has_what_its_parameters_ask_for(
    marked: Api, query: dict[str, str | list[str]], expected: list[int]
) -> None:
    assert seconds(marked, **query) == expected


def test_an_offset_is_part_of_a_time(marked: Api) -> None:
    an_hour_ahead = iso(3_600_000 + 1_000).replace("+00:00", "+01:00")

    assert seconds(marked, to=an_hour_ahead) == [0, 1]


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
        ({"from_": ""}, "invalid_instant"),
        ({"from_": "9" * 5_000}, "invalid_instant"),
        ({"to": "-1"}, "invalid_instant"),
        ({"to": ["2026-11-23", "2026-11-24"]}, "invalid_instant"),
        ({"from_": str(2**53)}, "too_large"),
        # Nanoseconds.
        ({"from_": f"{START}000000"}, "too_large"),
        ({"from_": "1969-12-31T23:59:59Z"}, "too_small"),
        ({"from_": str(START + 1), "to": str(START)}, "empty_range"),
        ({"statsu": "pending"}, "unknown_parameter"),
        ({"group_by": "customer"}, "not_a_choice"),
    ],
)
def test_a_bad_query_value_is_a_400_that_names_it(
    api: Api, query: dict[str, str | list[str]], code: str
) -> None:
    answer = api.records("c", **query)

    assert answer.status == 400
    name = next(iter(query)).rstrip("_")
    assert answer.problem_codes() == {(f"/{name}", code)}


@pytest.mark.parametrize("name", ["from_", "to"])
@pytest.mark.parametrize("digits", ["1795446956", "20261123", "946684799999", "0"])
def test_digits_before_the_year_2000_are_a_400_that_says_why(api: Api, name: str, digits: str) -> None:
    answer = api.records("c", **{name: digits})

    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert error["code"] == "not_milliseconds"
    assert "seconds" in error["detail"]
    assert "hyphens" in error["detail"]


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


POSITION = {"customer": "c", "kind": "asc", "after": "1"}


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "é",
        "=" * 8,
        "!!!!",
        encoded([]),
        encoded({"customer": "c", "kind": "asc"}),
        encoded(POSITION | {"after": 1}),
        encoded(POSITION | {"after": "1; DROP"}),
        encoded(POSITION | {"after": "9" * 49}),
        encoded(POSITION | {"after": "1e200"}),
        encoded(POSITION | {"more": 1}),
        encoded(POSITION | {"customer": "other"}),
        encoded(POSITION | {"kind": "desc"}),
        encoded(POSITION | {"kind": "dimension"}),
        "A" * 2_000,
    ],
)
def test_a_token_that_is_not_of_this_list_is_a_400(marked: Api, token: str) -> None:
    assert marked.records("c", next_token=encoded(POSITION)).status == 200

    answer = marked.records("c", next_token=token)

    assert answer.status == 400
    assert [error["pointer"] for error in answer.body["errors"]] == ["/next_token"]


@pytest.mark.parametrize("query", [{"from_": str(START + 1)}, {"to": str(START - 1)}])
def test_a_token_outside_the_asked_range_is_a_400(marked: Api, query: dict[str, str]) -> None:
    token = encoded(POSITION | {"after": str(START)})

    assert marked.records("c", **query, next_token=token).status == 400


def test_odd_records_are_listed_as_well_as_they_can_be(api: Api, stored: "StoredItems") -> None:
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
                {"M": {"value": {"N": "12345678901234567890"}}},
                {"M": {"dimension": {"B": b"\x00"}, "value": {"NULL": True}}},
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
    assert sorted(nanoseconds["request_id"]) == [1, 2]
    assert [(entry["dimension"], entry["value"]) for entry in nanoseconds["dimension_usage"]] == [
        ("m", 1.5),
        ("m", "7"),
        (None, 12345678901234567890),
        ("AA==", None),
    ]
    assert (huge["create_timestamp"], huge["metering_response"]) == (10**30, {"a": [1]})


@pytest.mark.parametrize("levels", [253, 254, 255, 900, 5_000, 100_000])
@pytest.mark.parametrize("stringified", [False, True])
def test_no_nesting_of_a_stored_answer_is_a_500(
    api: Api, stored: "StoredItems", levels: int, stringified: bool
) -> None:
    """Pydantic serializes 255 levels, of which the record is one; Python parses some thousands."""
    nested = "[" * levels + "]" * levels
    text = json.dumps(nested) if stringified else nested
    stored.put(**CUSTOMER, create_timestamp={"N": "1"}, metering_response={"S": text})

    answer = api.records("c")

    assert answer.status == 200
    (record,) = answer.body["records"]
    if levels <= 254:
        assert record["metering_response"] == json.loads(nested)
    else:
        assert record["metering_response"] == nested
