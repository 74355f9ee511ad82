"""GET /listMeteringRecords/{customerIdentifier}: parameters, answers and errors."""

import base64
import json
from datetime import UTC, datetime
from unittest.mock import Mock, create_autospec

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError, ReadTimeoutError

from metering_handlers.contract.queries import NOT_WITH_GROUP_BY, NOT_WITH_TRANSACTION_ID
from metering_handlers.dynamodb import ATTEMPT_BUDGET_MS
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, Query, buyer, buyers, usage
from tests.unit.listing.records import MARKED, PENDING, START, pages, record


@pytest.fixture
def marked(api: Api, stored: StoredItems) -> Api:
    """Store a pending, a metered and two failed records of customer c, one each second."""
    for second, marks in enumerate([PENDING, MARKED["every dimension billed"], MARKED["unprocessed"], {}]):
        stored.put(**record(START + 1_000 * second, marks, metered_3_id=20))
    return api


def iso(milliseconds_after_start: int) -> str:
    return datetime.fromtimestamp((START + milliseconds_after_start) / 1_000, UTC).isoformat()


def encoded(document: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


POSITION: dict[str, object] = {"customer": "c", "kind": "asc", "after": str(START)}
TOKEN = encoded(POSITION)


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


@pytest.mark.parametrize(
    "query",
    [{}, {"status": "metered"}, {"limit": "1"}, {"group_by": "dimension"}, {"transaction_id": "t"}],
)
def test_all_reads_are_strongly_consistent(api: Api, monkeypatch: pytest.MonkeyPatch, query: Query) -> None:
    """Moto is always consistent, so the test looks at the requests to DynamoDB."""
    api.insert_one("c", usage("t", m=1))
    call = BaseClient._make_api_call  # type: ignore[attr-defined]
    calls = create_autospec(call, side_effect=call)
    monkeypatch.setattr(BaseClient, "_make_api_call", calls)

    assert api.records("c", **query).status == 200

    assert [str(each).count("'ConsistentRead': True") for each in calls.mock_calls] == (
        [1, 1] if "transaction_id" in query else [1]
    )


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
        ({"next_token": TOKEN}, [1, 2, 3]),
        ({"next_token": TOKEN, "from_": str(START), "to": str(START)}, []),
    ],
)
def test_a_list_has_what_its_parameters_ask_for(marked: Api, query: Query, expected: list[int]) -> None:
    answer = marked.records("c", **query)

    assert answer.status == 200, answer.body
    assert [(each["create_timestamp"] - START) // 1_000 for each in answer.body["records"]] == expected
    assert answer.body["next_token"] is None


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
            for after in (1, "1; DROP", "9" * 39, "1E+200", "1E-200", "-", "NaN")
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


def test_odd_records_are_listed_and_added_up_as_well_as_possible(api: Api, stored: StoredItems) -> None:
    """In pages of one record; of the values, totals count whole numbers, exactly."""
    m = {"dimension": {"S": "m"}}
    odd = [{"N": "1.5"}, {"S": "7"}, {"BOOL": True}, {"NULL": True}, {"L": [{"N": "7"}]}]
    whole = [{"N": text} for text in ("3.0", "1E+2", str(2**53), "1", "9" * 38)]
    usage_ = [
        *({"M": m | {"value": value}} for value in odd + whole),
        {"M": {"dimension": {"N": "7"}, "value": {"N": "12345678901234567890"}}},
        {"M": {"dimension": {"B": b"\x00"}, "value": {"N": "5"}}},
        *({"M": {}}, {"M": {"dimension": {"L": []}}}, {"S": "junk"}),
    ]
    answer = {"S": '{"Results": [{"UsageRecord": {"Dimension": "7"}, "Status": "Success"}]}'}
    marks = {"metering_response": answer, "request_id": {"NS": ["1", "2"]}, "dimension_usage": {"L": usage_}}
    stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": "-5"})
    stored.put(**record("1606176000", {"dimension_usage": {"S": "none"}}))
    stored.put(**record("1606176000.5", {"metering_response": {"M": {"a": {"NS": ["1"]}}}}))
    stored.put(**record("1606176000000000001", marks))  # type: ignore[arg-type]
    stored.put(**record("1e30", PENDING, m=1))

    records = [each for page in pages(api, limit="1") for each in page["records"]]

    timestamps = [-5, 1606176000, 1606176000.5, 1606176000000000001, 10**30]
    assert [each["create_timestamp"] for each in records] == timestamps
    assert [each["dimension_usage"] for each in records[:3]] == [[], [], []]
    assert records[2]["metering_response"] == {"a": [1]}
    assert "request_id" not in records[3]
    used = [(each["dimension"], each["value"]) for each in records[3]["dimension_usage"]]
    assert used == [
        *(("m", value) for value in (1.5, None, None, None, None, 3, 100, 2**53, 1, int("9" * 38))),
        *((None, 12345678901234567890), ("AA==", 5), (None, None), (None, None)),
    ]
    assert {each["status"] for each in records[3]["dimension_usage"]} == {"failed"}
    (page,) = pages(api, group_by="dimension")
    sums = [
        [each["dimension"], *each["pending"].values(), *each["failed"].values()] for each in page["totals"]
    ]
    assert sums == [
        ["AA==", 0, 0, 1, 5],
        ["m", 1, 1, 1, 103 + 2**53 + 1 + int("9" * 38)],
        [None, 0, 0, 1, 12345678901234567890],
    ]
    assert page["record_count"] == 5


@pytest.fixture
def inserted(api: Api) -> Api:
    """Store three records of customer c, 1 s apart, and one of customer d; one holds three entries."""
    for entries in (
        [buyer("c", "t0", m=0)],
        [buyer("c", "a b", m=2), buyer("c", "a+b&c", m=2), buyer("c", m=1)],
        [buyer("c", "t1", m=1), buyer("d", "t1", m=7)],
    ):
        assert api.insert_many(buyers(*entries)).status == 200
        api.request_time += 1_000
    return api


def values(api: Api, customer: str, transaction_id: str) -> list[int]:
    """Return the quantities of the records that hold an entry."""
    answer = api.records(customer, transaction_id=transaction_id)
    assert (answer.status, answer.body["next_token"]) == (200, None)
    return [each["dimension_usage"][0]["value"] for each in answer.body["records"]]


@pytest.mark.parametrize(
    ("customer", "transaction_id", "expected"),
    [
        *(("c", "t1", [1]), ("d", "t1", [7]), ("c", "a b", [5]), ("c", "a+b&c", [5])),
        *(("c", "t3", []), ("d", "t0", []), ("nobody", "t1", [])),
    ],
)
def test_only_the_record_that_holds_the_entry_is_listed(
    inserted: Api, customer: str, transaction_id: str, expected: list[int]
) -> None:
    assert values(inserted, customer, transaction_id) == expected
