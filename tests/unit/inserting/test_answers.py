"""Answers to inserts: representations, 503 and how to resume, 500."""

from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers.contract.problem_types import SAFE_REPEAT
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import THREE_CHUNKS, WITH_IDS, WITHOUT_IDS, Call, Calls
from tests.unit.lambda_calls import KEY, LICENSE_ARN, Api, Body, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID


def a_day_after(api: Api) -> str:
    until = datetime.fromtimestamp(api.request_time // 1_000 + 86_400, UTC)
    return until.strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("return=representation", "return=representation"),
        ("respond-async, Return = Representation; foo=1", "return=representation"),
        ("return=minimal, wait=10", None),
    ],
)
def test_prefer_representation_returns_the_stored_keys(api: Api, prefer: str, applied: str | None) -> None:
    answer = api.insert_many(buyers(buyer(LICENSE_ARN, m=1), buyer("123456789012", m=1)), {"Prefer": prefer})

    records = [
        {"customerIdentifier": customer, "create_timestamp": api.request_time}
        for customer in ("123456789012", LICENSE_ARN)
    ]
    assert answer.body == ({"records": records} if applied else {})
    assert answer.headers.get("Preference-Applied") == applied


@pytest.mark.usefixtures("small_chunks")
class TestIncomplete:
    """A request for which the function's time was not enough."""

    def test_without_key_the_request_id_resumes_it(self, api: Api, stored: StoredItems, calls: Calls) -> None:
        answer = calls.cut_off(THREE_CHUNKS)

        assert answer.problem == (503, "incomplete")
        assert answer.body["inserted"] == 2
        assert answer.body["resume_until"] == a_day_after(api)
        assert answer.body["idempotency_key"] == answer.body["instance"] == EXTENDED_REQUEST_ID
        for part in (" 2 of 8 ", f" Idempotency-Key: {EXTENDED_REQUEST_ID}, until {a_day_after(api)};"):
            assert part in answer.body["detail"]
        # Clients that obey it repeat the request without the key.
        assert "Retry-After" not in answer.headers
        assert api.insert_many(THREE_CHUNKS, {"Idempotency-Key": EXTENDED_REQUEST_ID}).status == 200
        assert len(stored.all()) == 8

    def test_with_ids_only_it_needs_no_key(self, api: Api, stored: StoredItems, calls: Calls) -> None:
        answer = calls.cut_off(buyers(*WITH_IDS))

        assert (answer.body["inserted"], answer.headers["Retry-After"]) == (2, "5")
        assert answer.body["resume_until"] == a_day_after(api)
        assert "idempotency_key" not in answer.body
        assert "Send the request again as it is" in answer.body["detail"]
        assert len(api.insert_many(buyers(*WITH_IDS)).body["duplicates"]) == 2
        assert len(stored.all()) == 8

    @pytest.mark.parametrize(
        ("entries", "headers", "inserted"),
        [
            (WITHOUT_IDS, KEY, 2),
            ([*WITH_IDS[1:], WITHOUT_IDS[0]], {}, 1),
            # The first chunk has c6, of three entries, and c7.
            ([*WITHOUT_IDS, *WITHOUT_IDS[6:7] * 2], KEY, 4),
            # Or the known c6, which is left out, and the new c7.
            ([*WITH_IDS[:7], WITHOUT_IDS[7]], KEY, 2),
        ],
        ids=["key", "one entry without id", "entries as they were sent", "known entries too"],
    )
    def test_it_counts_what_is_stored_and_names_the_key(
        self, api: Api, calls: Calls, entries: list[Body], headers: dict[str, str], inserted: int
    ) -> None:
        api.insert_many(buyers(WITH_IDS[6]))
        key = headers.get("Idempotency-Key", "JKJaXmPLvHc0000=")

        answer = calls.cut_off(buyers(*entries), headers)

        assert (answer.body["inserted"], answer.body["idempotency_key"]) == (inserted, key)
        assert f" {inserted} of {len(entries)} " in answer.body["detail"]
        # Only a request with a key may be repeated as it was.
        assert answer.headers.get("Retry-After") == ("5" if headers else None)

    def test_a_resume_repeats_the_first_resume_until(self, api: Api, calls: Calls) -> None:
        """Also where the time is over before it has read what is stored."""

        def time_out(call: Call, **request: object) -> object:
            api.context.remaining_ms = 0
            return call(**request)

        until = a_day_after(api)
        calls.cut_off(THREE_CHUNKS, KEY)
        api.request_time += 3_600_000
        calls.on_write = time_out

        assert api.insert_many(THREE_CHUNKS, KEY).body["resume_until"] == until

    def test_no_chunk_starts_that_could_not_finish(self, api: Api, stored: StoredItems, calls: Calls) -> None:
        api.context.remaining_ms = 4_999

        answer = api.insert_many(THREE_CHUNKS, KEY)

        assert (answer.status, answer.body["inserted"]) == (503, 0)
        # An earlier request may have begun the day of this key.
        assert "resume_until" not in answer.body
        assert "within 24 hours of the first time that it was sent" in answer.body["detail"]
        assert [*calls.log, *stored.all()] == []


@pytest.mark.parametrize(
    "code",
    ["ThrottlingException", "TransactionInProgressException", "ProvisionedThroughputExceededException"],
)
def test_a_write_that_is_always_refused_is_a_503_in_time(api: Api, calls: Calls, code: str) -> None:
    calls.refuse(code)

    assert api.insert_one("c", usage(m=1)).status == 503
    assert 3_900 <= api.context.remaining_ms < 5_000


def test_an_unknown_outcome_is_retried_with_its_token(api: Api, stored: StoredItems, calls: Calls) -> None:
    bad_gateway = {"Error": {"Code": "", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 502}}
    errors = iter(
        [
            ConnectTimeoutError(endpoint_url="https://dynamodb"),
            ClientError(bad_gateway, "TransactWriteItems"),  # type: ignore[arg-type]
        ]
    )

    def write(call: Call, **request: object) -> object:
        for error in errors:
            raise error
        return call(**request)

    calls.on_write = write

    assert api.insert_one("c", usage("t", m=1)).status == 200
    assert calls.requests == [calls.requests[0]] * 3
    assert len(stored.all()) == 1


def test_after_a_cancellation_the_token_is_new(api: Api, calls: Calls) -> None:
    api.insert_one("c", usage(m=1))

    assert api.insert_one("c", usage(m=1)).status == 200
    assert len({request["ClientRequestToken"] for request in calls.requests}) == len(calls.requests) == 3


def test_an_unexpected_error_says_how_to_repeat_the_request(api: Api, dynamodb: DynamoDBClient) -> None:
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)

    answer = api.insert_one("c", usage(m=1))

    assert answer.problem == (500, "internal-error")
    assert answer.body["instance"] == EXTENDED_REQUEST_ID
    assert SAFE_REPEAT in answer.body["detail"]
    assert "ResourceNotFound" not in str(answer.body)
