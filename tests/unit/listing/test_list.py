"""GET /listMeteringRecords/{customerIdentifier}: parameters, answers and errors."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from unittest.mock import Mock

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from metering_handlers.contract.queries import NOT_WITH_GROUP_BY, NOT_WITH_TRANSACTION_ID
from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, Query, usage
from tests.unit.listing.metering_responses import MARKED, PENDING, START, record


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
    usage_ = {"dimension": "metered_3_id", "value": 20, "status": "failed", "reason": "Unprocessed"}
    assert marked.records("c").body["records"][2] == {
        "customerIdentifier": "c",
        "create_timestamp": START + 2_000,
        "dimension_usage": [usage_],
        "status": "failed",
        "metering_response": json.loads(MARKED["unprocessed"]["metering_response"]["S"]),
    }


def test_a_customer_without_records_has_an_empty_list(api: Api) -> None:
    assert api.records("nobody").outcome == (200, {"records": [], "next_token": None}, False)


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

    assert (answer.problem, answer.headers["Retry-After"]) == ((503, "unavailable"), "5")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ({"status": "pending"}, [0]),
        ({"status": "metered"}, [1]),
        ({"status": "failed"}, [2, 3]),
        # A presigned URL's own parameters.
        ({"status": "failed", "X-Amz-Signature": "x", "X-Amz-Date": "x"}, [2, 3]),
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
    assert [(each["create_timestamp"] - START) // 1_000 for each in answer.body["records"]] == expected


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


POSITION: dict[str, object] = {"customer": "c", "kind": "asc", "after": str(START)}
TOKEN = encoded(POSITION)


BAD_QUERIES: dict[str, list[Query]] = {
    "not_a_choice": [{"status": "billed"}, {"order": "up"}, {"group_by": "customer"}],
    "not_an_integer": [{"limit": "ten"}],
    "too_small": [{"limit": "0"}, {"from_": "1969-12-31T23:59:59Z"}],
    # The last are nanoseconds.
    "too_large": [{"limit": "1001"}, {"from_": str(2**53)}, {"from_": f"{START}000000"}],
    "invalid_instant": [{"from_": "yesterday"}, {"from_": ""}, {"from_": "9" * 5_000}, {"to": "-1"}],
    # Seconds, or a date without hyphens.
    "not_milliseconds": [
        *({"from_": "1795446956"}, {"to": "20261123"}, {"from_": "946684799999"}, {"to": "0"})
    ],
    "repeated": [
        *({"limit": ["1", "2"]}, {"to": ["2026-11-23", "2026-11-24"]}, {"status": ["pending", "failed"]}),
        *({"next_token": ["x", "y"]}, {"transaction_id": ["t1", "t2"]}),
    ],
    "empty_range": [{"from_": str(START + 1), "to": str(START)}],
    "unknown_parameter": [{"statsu": "pending"}],
    "too_short": [{"transaction_id": ""}],
    "too_long": [{"transaction_id": "t" * 256}, {"next_token": "A" * 2_000}],
    "not_printable_ascii": [{"transaction_id": "é"}, {"transaction_id": "t\n"}],
    "invalid_next_token": [
        *({"next_token": token} for token in ("x", "é", "=" * 8, encoded([]))),
        {"next_token": encoded({"customer": "c", "kind": "asc"})},
        *(
            {"next_token": encoded(POSITION | {"after": after})}
            for after in (1, "1; DROP", "9" * 49, "1e200", "NaN")
        ),
        *({"next_token": encoded(POSITION | change)} for change in ({"more": 1}, {"customer": "other"})),
        # A token continues only the list it comes from.
        *({"next_token": TOKEN, "order": "desc"}, {"next_token": TOKEN, "group_by": "dimension"}),
        *({"next_token": TOKEN, "from_": str(START + 1)}, {"next_token": TOKEN, "to": str(START - 1)}),
    ],
}


@pytest.mark.parametrize(
    ("query", "code"), [(query, code) for code, queries in BAD_QUERIES.items() for query in queries]
)
def test_a_bad_query_value_is_a_400_that_names_it(api: Api, query: Query, code: str) -> None:
    name = next(iter(query)).rstrip("_")
    assert api.records("c", **query).refusal == (400, {(f"/{name}", code)})


def test_digits_before_the_year_2000_are_explained(api: Api) -> None:
    (error,) = api.records("c", from_="1795446956").body["errors"]

    assert "seconds" in error["detail"]
    assert "hyphens" in error["detail"]


def test_a_token_continues_the_list_it_comes_from(marked: Api) -> None:
    assert len(marked.records("c", next_token=TOKEN).body["records"]) == 3


@pytest.mark.parametrize(
    ("query", "others"),
    [({"group_by": "dimension"}, NOT_WITH_GROUP_BY), ({"transaction_id": "t"}, NOT_WITH_TRANSACTION_ID)],
)
def test_every_parameter_that_conflicts_is_named(api: Api, query: Query, others: tuple[str, ...]) -> None:
    dates = dict.fromkeys(["from", "to"], "2026-11-23")
    choices = {"status": "pending", "order": "asc", "limit": "100", "group_by": "dimension"}
    given = {**dates, **choices, "next_token": "x"}

    answer = api.records("c", **query, **{name: given[name] for name in others})

    (name,) = query
    assert answer.refusal == (400, {(f"/{other}", f"not_with_{name}") for other in others})


def test_odd_records_are_listed_as_well_as_they_can_be(api: Api, stored: StoredItems) -> None:
    usage_of_every_type = [
        {"M": {"dimension": {"S": "m"}, "value": {"N": "1.5"}}},
        {"M": {"dimension": {"S": "m"}, "value": {"S": "7"}}},
        {"M": {"dimension": {"S": "m"}, "value": {"BOOL": True}}},
        {"M": {"value": {"N": "12345678901234567890"}}},
        {"M": {"dimension": {"B": b"\x00"}, "value": {"NULL": True}}},
        {"M": {}},
        {"S": "junk"},
    ]
    stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": "1606176000"})
    stored.put(**record("1606176000.5", {"dimension_usage": {"S": "none"}}))
    marks = {
        "metering_response": {"S": '{"Quantity": NaN}'},
        "request_id": {"NS": ["1", "2"]},
        "dimension_usage": {"L": usage_of_every_type},
    }
    stored.put(**record("1606176000000000000", marks))  # type: ignore[arg-type]
    stored.put(**record("1e30", {"metering_response": {"M": {"a": {"L": [{"N": "1"}]}}}}))

    answer = api.records("c")

    assert answer.status == 200
    in_seconds, decimal, nanoseconds, huge = answer.body["records"]
    assert in_seconds["create_timestamp"] == 1606176000
    assert (in_seconds["dimension_usage"], in_seconds["status"]) == ([], "failed")
    assert (decimal["create_timestamp"], decimal["dimension_usage"]) == (1606176000.5, [])
    assert nanoseconds["create_timestamp"] == 1606176000000000000
    assert nanoseconds["metering_response"] == '{"Quantity": NaN}'
    assert "request_id" not in nanoseconds
    values = [(entry["dimension"], entry["value"]) for entry in nanoseconds["dimension_usage"]]
    whole = (None, 12345678901234567890)
    assert values == [("m", 1.5), ("m", None), ("m", None), whole, ("AA==", None), (None, None)]
    assert (huge["create_timestamp"], huge["metering_response"]) == (10**30, {"a": [1]})


@pytest.mark.parametrize("levels", [254, 255, 5_000, 100_000])
@pytest.mark.parametrize("stringified", [False, True])
def test_no_depth_of_an_answer_is_a_500(
    api: Api, stored: StoredItems, levels: int, stringified: bool
) -> None:
    """Pydantic serializes 255 levels, of which the record is one; Python parses some thousands."""
    nested = "[" * levels + "]" * levels
    text = json.dumps(nested) if stringified else nested
    stored.put(**record(1, {"metering_response": {"S": text}}))

    (listed,) = api.records("c").body["records"]

    assert listed["metering_response"] == (json.loads(nested) if levels <= 254 else nested)
