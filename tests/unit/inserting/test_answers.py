"""Answers to inserts: representations, dry runs, 503 and how to resume, 500."""

import dataclasses
import json
import math
import time
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from botocore.exceptions import ReadTimeoutError
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers import insert_metering_record
from metering_handlers.inserting import canonical_form, insertion
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import THREE_CHUNKS, WITH_IDS, WITHOUT_IDS, Call, Calls, Rows, failing
from tests.unit.lambda_calls import DRY_RUN, KEY, REPRESENTATION, Api, Body, Query, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID
from tools.benchmarks.dynamodb_stub import StubError, Tables, WriteLimits


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("return=representation", "return=representation"),
        ("respond-async, Return = Representation; foo=1", "return=representation"),
        ("return=minimal, wait=10", None),
    ],
)
def test_prefer_representation_returns_the_stored_keys(api: Api, prefer: str, applied: str | None) -> None:
    answer = api.insert_many(buyers(buyer("d", m=1), buyer("c", m=1)), {"Prefer": prefer})

    records = [{"customerIdentifier": each, "create_timestamp": api.request_time} for each in ("c", "d")]
    assert answer.body == ({"records": records} if applied else {})
    assert answer.headers.get("Preference-Applied") == applied


# Dry runs.


def test_a_dry_run_says_what_would_be_written_and_writes_nothing(
    api: Api, stored: StoredItems, rows: Rows, calls: Calls
) -> None:
    api.insert_one("d", usage("t", m=1))
    before = [*stored.all(), *rows.all()]
    known = {"customerIdentifier": "d", "transaction_id": "t", "create_timestamp": api.request_time}
    answer = {"dry_run": True, "records": 2, "duplicates": [known | {"differs": True}]}
    body = buyers(buyer("c", m=1), buyer("c", m=2), buyer("d", "t", m=3), buyer("e", "t", m=4))
    calls.clear()

    for headers in ({}, KEY, {}):
        assert api.insert_many(body, headers, query=DRY_RUN).outcome == (200, answer, False)
    assert api.insert_one("c", usage(m=1), query=DRY_RUN).body["records"] == 1

    assert "write" not in calls.log
    assert [*stored.all(), *rows.all()] == before
    # It remembers nothing: the key is free for other entries.
    assert api.insert_one("c", usage(m=1), KEY).status == 200


@pytest.mark.usefixtures("small_chunks")
def test_a_dry_run_counts_what_is_missing_of_a_request(api: Api, rows: Rows, calls: Calls) -> None:
    calls.cut_off(THREE_CHUNKS, KEY)
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 6
    api.insert_many(THREE_CHUNKS, KEY)
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 0
    # Without the first row, later ones do not count.
    rows.delete(id={"S": "order 66#0"})
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 8


def test_a_dry_run_is_refused_as_an_insert_would_be(
    api: Api, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.insert_one("c", usage(m=1), KEY)

    reused = api.insert_one("c", usage(m=2), KEY, query=DRY_RUN)
    invalid = api.insert_many(buyers(buyer("c", "t", m=1), buyer("c", "t", m=1)), query=DRY_RUN)
    with monkeypatch.context() as patched:
        patched.setattr(canonical_form, "DIGEST_VERSION", 2)
        conflict = api.insert_one("c", usage(m=1), KEY, query=DRY_RUN)
    api.context.remaining_ms = 4_000
    calls.clear()
    late = api.insert_one("c", usage("t", m=1), query=DRY_RUN)

    assert (reused.status, invalid.status, conflict.status) == (422, 422, 409)
    assert (late.problem, late.headers["Retry-After"]) == ((503, "unavailable"), "5")
    assert calls.log == []


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ({"dry_run": "false"}, 200),
        *(({"dry_run": value}, 400) for value in ("maybe", "", ["true", "false"])),
        *(({name: "true"}, 400) for name in ("dryrun", "DRY_RUN")),
        ({"dry_run": "true", "limit": "1"}, 400),
    ],
)
def test_only_dry_run_false_stores_and_a_misspelled_one_is_a_400(
    api: Api, stored: StoredItems, query: Query, status: int
) -> None:
    one = api.insert_one("c", usage(m=1), query=query)
    many = api.insert_many(buyers(buyer("c", m=1)), query=query)

    assert one.status == many.status == status
    if status == 400:
        assert one.problem == many.problem == (400, "invalid-parameter")
        assert [error["location"] for error in one.body["errors"] + many.body["errors"]] == ["query"] * 2
    assert len(stored.all()) == (2 if status == 200 else 0)


# One request, though it runs twice.


def inserted(capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Return what each request has counted as RecordsInserted."""
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    return [count for metric in metrics for count in metric["RecordsInserted"]]


@pytest.mark.parametrize("headers", [{}, KEY], ids=["no key", "key"])
@pytest.mark.parametrize("body", [usage(m=1), usage("t", m=1)], ids=["no id", "id"])
def test_an_event_that_lambda_runs_twice_is_one_request(
    api: Api, stored: StoredItems, capsys: pytest.CaptureFixture[str], body: object, headers: dict[str, str]
) -> None:
    """Written once and counted once, neither a replay nor a duplicate; also where its record has moved."""
    event = api.event("POST", "/insertMeteringRecord/c", body, headers | REPRESENTATION)
    stored.put(customerIdentifier={"S": "c"}, create_timestamp={"N": str(api.request_time)})

    first, second = (api.call(insert_metering_record.lambda_handler, event) for _ in range(2))

    assert first.outcome == second.outcome == (200, {"records": first.body["records"]}, False)
    assert len(stored.all()) == 2
    assert inserted(capsys) == [1, 0]


@pytest.mark.parametrize("ids", [(None, None), ("t1", "t2"), (None, "t2")], ids=["no id", "ids", "one id"])
def test_a_record_whose_answer_was_lost_is_counted_once(
    api: Api, stored: StoredItems, calls: Calls, capsys: pytest.CaptureFixture[str], ids: list[str | None]
) -> None:
    """moto does not know request tokens, so the repeat meets the rows: as after ten minutes on AWS."""

    def lose_the_answer(call: Call, **request: object) -> object:
        calls.on_write = None
        call(**request)
        raise ReadTimeoutError(endpoint_url="https://dynamodb")

    calls.on_write = lose_the_answer

    answer = api.insert_many(buyers(buyer("c", ids[0], m=1), buyer("d", ids[1], m=1)))

    assert answer.outcome == (200, {}, False)
    assert len(stored.all()) == 2
    assert inserted(capsys) == [2]


def test_an_event_without_extended_id_uses_lambdas_request_id(api: Api, stored: StoredItems) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", usage(m=1))
    del event["requestContext"]["extendedRequestId"]

    api.call(insert_metering_record.lambda_handler, event)

    assert [item["request_id"]["S"] for item in stored.all()] == [api.context.aws_request_id]


# The function's time was not enough.


def a_day_after(api: Api) -> str:
    until = datetime.fromtimestamp(api.request_time // 1_000 + 86_400, UTC)
    return until.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("entries", "headers", "told"),
    [
        (WITHOUT_IDS, {}, (2, "JKJaXmPLvHc0001=")),
        ([*WITH_IDS[1:], WITHOUT_IDS[0]], {}, (1, "JKJaXmPLvHc0001=")),
        (WITH_IDS, {}, (2, None)),
        # The first chunk has c6, of three entries, and c7.
        ([*WITHOUT_IDS, *WITHOUT_IDS[6:7] * 2], KEY, (4, "order 66")),
        # Or the known c6, which is left out, and the new c7.
        ([*WITH_IDS[:7], WITHOUT_IDS[7]], KEY, (2, "order 66")),
    ],
    ids=["no key", "one entry without id", "ids", "key", "known entries too"],
)
def test_a_503_says_what_is_stored_and_how_to_resume(
    api: Api, calls: Calls, entries: list[Body], headers: dict[str, str], told: tuple[int, str | None]
) -> None:
    inserted, key = told
    api.insert_many(buyers(WITH_IDS[6]))

    answer = calls.cut_off(buyers(*entries), headers)

    assert answer.problem == (503, "incomplete")
    assert (answer.body["inserted"], answer.body.get("idempotency_key")) == told
    assert answer.body["resume_until"] == a_day_after(api)
    how = f"with the header Idempotency-Key: {key}" if key else "as it is"
    assert f"took {inserted} of {len(entries)} entries" in answer.body["detail"]
    assert f"Send the request again {how}, until {a_day_after(api)};" in answer.body["detail"]
    # Clients that obey it repeat the request as it was: only where that is safe.
    assert answer.headers.get("Retry-After") == ("5" if headers or key is None else None)
    resumed = api.insert_many(buyers(*entries), {"Idempotency-Key": key} if key else {})
    assert resumed.status == 200
    assert not resumed.is_replay


@pytest.mark.usefixtures("small_chunks")
def test_a_resume_repeats_the_first_resume_until(api: Api, calls: Calls) -> None:
    """Also where there is no time to read what is stored."""
    until = a_day_after(api)
    calls.cut_off(THREE_CHUNKS, KEY)
    api.request_time += 3_600_000
    api.context.remaining_ms = 5_050

    assert api.insert_many(THREE_CHUNKS, KEY).body["resume_until"] == until


def test_no_chunk_starts_that_could_not_finish(api: Api, calls: Calls) -> None:
    api.context.remaining_ms = 4_999

    answer = api.insert_one("c", usage(m=1), KEY)

    assert (answer.status, answer.body["inserted"]) == (503, 0)
    # An earlier request may have begun the day of this key.
    assert "resume_until" not in answer.body
    assert "within 24 hours of the first time that it was sent" in answer.body["detail"]
    assert calls.log == []


@pytest.mark.parametrize("headers", [{}, KEY], ids=["no key", "key"])
@pytest.mark.parametrize(
    "code",
    [
        *("ThrottlingException", "TransactionInProgressException", "ProvisionedThroughputExceededException"),
        "UnprocessedKeys",
    ],
)
def test_a_table_that_never_answers_is_a_503_in_time(
    api: Api, stored: StoredItems, calls: Calls, code: str, headers: dict[str, str]
) -> None:
    def process_nothing(_: Call, **request: Any) -> object:  # noqa: ANN401
        api.context.remaining_ms -= 1_000
        return {"Responses": {}, "UnprocessedKeys": request["RequestItems"]}

    api.insert_one("c", usage("t", m=1))
    if code == "UnprocessedKeys":
        calls.on_read = process_nothing
    else:
        calls.on_write = failing(code, api)

    answer = api.insert_many(buyers(buyer("c", "t", m=1), buyer("d", "t", m=1)), headers)

    assert (answer.status, answer.body["inserted"]) == (503, 0)
    assert 3_900 <= api.context.remaining_ms < 5_000
    assert len(stored.all()) == 1


def test_an_unexpected_error_says_how_to_repeat_the_request(api: Api, dynamodb: DynamoDBClient) -> None:
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)

    answer = api.insert_one("c", usage(m=1))

    assert answer.problem == (500, "internal-error")
    assert answer.body["instance"] == EXTENDED_REQUEST_ID
    assert (
        "If it had an Idempotency-Key, or if all of its entries have a transaction_id, repeat it as it was; "
        "otherwise repeat it with instance as its Idempotency-Key."
    ) in answer.body["detail"]
    assert "ResourceNotFound" not in str(answer.body)


# Throttled requests continue at the rate of a partition.


class LimitedDynamoDB:
    """DynamoDB's client at the partitions' limits; a call takes 10 ms of the function's time."""

    def __init__(self, api: Api) -> None:
        self.exceptions = insertion.tables.client.exceptions
        self.cancelled = 0
        self.limits = WriteLimits(self.monotonic)
        self._tables = Tables(self.limits)
        self._context = api.context

    def monotonic(self) -> float:
        # 1,000 when the request begins.
        return 1_027 - self._context.remaining_ms / 1_000

    def sleep(self, seconds: float) -> None:
        self._context.remaining_ms -= math.ceil(seconds * 1_000)

    def transact_write_items(self, **request: object) -> dict[str, Any]:
        self.sleep(0.01)
        try:
            return self._tables.answer("TransactWriteItems", request)
        except StubError as error:
            self.cancelled += 1
            response: Any = {"Error": {"Code": error.code}, **error.members}
            raise self.exceptions.TransactionCanceledException(response, "TransactWriteItems") from error


@pytest.fixture
def limited(api: Api, monkeypatch: pytest.MonkeyPatch) -> LimitedDynamoDB:
    limited = LimitedDynamoDB(api)
    client = cast("DynamoDBClient", limited)
    monkeypatch.setattr(insertion, "tables", dataclasses.replace(insertion.tables, client=client))
    monkeypatch.setattr(time, "monotonic", limited.monotonic)
    monkeypatch.setattr(time, "sleep", limited.sleep)
    return limited


LARGEST = {f"{number:02}" + "\N{GRINNING FACE}" * 253: 1 for number in range(25)}


@pytest.mark.parametrize(
    ("entries", "records", "seconds"),
    [
        ([buyer(f"c{number:05}", m=1) for number in range(10_000)], 10_000, (8, 11)),
        ([buyer(f"c{number:05}", "t", m=1) for number in range(10_000)], 10_000, (8, 11)),
        # A record for each 99 entries; the calls alone take a second.
        ([buyer("c", f"{number:05}", m=1) for number in range(10_000)], 102, (1, 2)),
        # 26 KB each.
        ([buyer(f"c{number:03}", **LARGEST) for number in range(198)], 198, (4, 6)),
    ],
    ids=["customers", "customers with ids", "ids of one customer", "the largest records"],
)
def test_a_request_goes_at_the_rate_of_the_busiest_partition(
    api: Api, limited: LimitedDynamoDB, entries: list[Body], records: int, seconds: tuple[int, int]
) -> None:
    answer = api.insert_many(buyers(*entries), REPRESENTATION)

    assert len(answer.body["records"]) == records
    assert seconds[0] < limited.monotonic() - 1_000 < seconds[1]
    assert limited.cancelled < 10 or records == 10_000


@pytest.mark.parametrize("headers", [KEY, {}], ids=["key", "no key"])
def test_a_chunk_that_is_always_throttled_backs_off(
    api: Api, limited: LimitedDynamoDB, capsys: pytest.CaptureFixture[str], headers: dict[str, str]
) -> None:
    limited.limits.prepare = lambda puts: [False] * len(puts)  # type: ignore[method-assign]

    assert api.insert_one("c", usage("t", m=1), headers).status == 503

    assert '"ThrottledChunks":[1.0]' in capsys.readouterr().out
    assert limited.cancelled < 200
