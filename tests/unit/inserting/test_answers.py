"""Answers to inserts: representations, 503 and how to resume, 500."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from metering_handlers.contract.problem_types import SAFE_REPEAT
from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Calls
from tests.unit.lambda_calls import Api, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
KEY = {"Idempotency-Key": "order 66"}
# Three small chunks: two customers in the first, three in each other.
WITHOUT_IDS = [buyer(f"c{number}", m=number) for number in range(8)]
WITH_IDS = [buyer(f"c{number}", f"t{number}", m=number) for number in range(8)]


def instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize(
    ("prefer", "applied"),
    [
        ("return=representation", "return=representation"),
        ("respond-async, Return = Representation; foo=1", "return=representation"),
        ("return=minimal, wait=10", None),
    ],
)
def test_prefer_return_representation_returns_the_stored_keys(
    api: Api, prefer: str, applied: str | None
) -> None:
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

    def test_without_key_and_ids_it_is_resumed_by_its_request_id(
        self, api: Api, stored: StoredItems, calls: Calls
    ) -> None:
        answer = calls.cut_off(buyers(*WITHOUT_IDS))

        until = instant(api.request_time // 1_000 + 86_400)
        assert answer.body["type"] == "urn:marketplace-metering:problem:incomplete"
        assert answer.body["inserted"] == 2
        assert answer.body["resume_until"] == until
        assert answer.body["idempotency_key"] == answer.body["instance"] == EXTENDED_REQUEST_ID
        assert answer.body["detail"] == (
            "The metering table took 2 of 8 entries in time. Send the request again with the header "
            f"Idempotency-Key: {EXTENDED_REQUEST_ID}, until {until}; stored usage is not written again."
        )
        # Clients that obey it repeat the request without the key.
        assert "Retry-After" not in answer.headers
        resumed = api.insert_many(buyers(*WITHOUT_IDS), {"Idempotency-Key": EXTENDED_REQUEST_ID})
        assert (resumed.status, len(stored.all())) == (200, 8)

    def test_with_a_key_it_is_repeated_as_it_was(self, calls: Calls) -> None:
        answer = calls.cut_off(buyers(*WITHOUT_IDS), KEY)

        assert answer.body["idempotency_key"] == "order 66"
        assert answer.headers["Retry-After"] == "5"

    def test_with_ids_only_it_needs_no_key(self, api: Api, stored: StoredItems, calls: Calls) -> None:
        answer = calls.cut_off(buyers(*WITH_IDS))

        assert answer.body["inserted"] == 2
        assert answer.body["resume_until"] == instant(api.request_time // 1_000 + 86_400)
        assert "idempotency_key" not in answer.body
        assert "Idempotency-Key" not in answer.body["detail"]
        assert "Send the request again as it is" in answer.body["detail"]
        assert answer.headers["Retry-After"] == "5"
        assert len(api.insert_many(buyers(*WITH_IDS)).body["duplicates"]) == 2
        assert len(stored.all()) == 8

    def test_one_entry_without_id_makes_the_key_necessary(self, calls: Calls) -> None:
        answer = calls.cut_off(buyers(*WITH_IDS[1:], WITHOUT_IDS[0]))

        assert answer.body["idempotency_key"] == EXTENDED_REQUEST_ID
        assert "Retry-After" not in answer.headers

    def test_inserted_counts_entries_as_they_were_sent(self, calls: Calls) -> None:
        """The first chunk has c6, of three entries, and c7."""
        answer = calls.cut_off(buyers(*WITHOUT_IDS, *WITHOUT_IDS[6:7] * 2))

        assert answer.body["inserted"] == 4
        assert " 4 of 10 " in answer.body["detail"]

    def test_inserted_counts_known_entries_too(self, api: Api, calls: Calls) -> None:
        """The first chunk has the known c6, which is left out, and the new c7."""
        api.insert_many(buyers(WITH_IDS[6]))

        assert calls.cut_off(buyers(*WITH_IDS[:7], WITHOUT_IDS[7]), KEY).body["inserted"] == 2

    def test_a_resume_repeats_the_first_resume_until(self, api: Api, calls: Calls) -> None:
        until = calls.cut_off(buyers(*WITHOUT_IDS), KEY).body["resume_until"]
        api.request_time += 3_600_000

        def time_out(call: object, **request: object) -> object:
            api.context.remaining_ms = 0
            return call(**request)  # type: ignore[operator]

        calls.on_write = time_out

        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).body["resume_until"] == until

    def test_no_chunk_starts_that_could_not_finish(self, api: Api, stored: StoredItems, calls: Calls) -> None:
        api.context.remaining_ms = 4_999

        answer = api.insert_many(buyers(*WITHOUT_IDS), KEY)

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
    errors = iter(
        [
            ConnectTimeoutError(endpoint_url="https://dynamodb"),
            ClientError(
                {"Error": {"Code": "", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 502}},  # type: ignore[typeddict-item]
                "TransactWriteItems",
            ),
        ]
    )

    def write(call: object, **request: object) -> object:
        for error in errors:
            raise error
        return call(**request)  # type: ignore[operator]

    calls.on_write = write

    assert api.insert_one("c", usage("t", m=1)).status == 200
    assert calls.requests == [calls.requests[0]] * 3
    assert len(stored.all()) == 1


def test_after_a_cancellation_the_token_is_new(api: Api, calls: Calls) -> None:
    api.insert_one("c", usage(m=1))
    calls.clear()

    assert api.insert_one("c", usage(m=1)).status == 200
    tokens = [request["ClientRequestToken"] for request in calls.requests]
    assert len(set(tokens)) == len(tokens) == 2


def test_an_unexpected_error_says_how_to_repeat_the_request(api: Api, dynamodb: "DynamoDBClient") -> None:
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)

    answer = api.insert_one("c", usage(m=1))

    assert answer.status == 500
    assert answer.body == {
        "type": "urn:marketplace-metering:problem:internal-error",
        "title": "Internal error",
        "status": 500,
        "detail": f"Something went wrong on our side. {SAFE_REPEAT} "
        "Quote the request id in instance to the operator.",
        "instance": EXTENDED_REQUEST_ID,
    }
