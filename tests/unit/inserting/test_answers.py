"""What inserts answer: representations, 503 with how to resume, 500."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ClientError, ConnectTimeoutError

from metering_handlers.contract.problem_types import SAFE_REPEAT
from metering_handlers.inserting import known_dimensions
from tests.environment import METERING_TABLE_NAME
from tests.unit.lambda_calls import Answer, Api, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.conftest import StoredItems
    from tests.unit.inserting.conftest import Calls

LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
KEY = {"Idempotency-Key": "order 66"}
# Three small chunks: two customers in the first, three in each other.
WITHOUT_IDS = [buyer(f"c{number}", m=number) for number in range(8)]
WITH_IDS = [buyer(f"c{number}", f"t{number}", m=number) for number in range(8)]


def instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


@pytest.mark.parametrize("prefer", ["return=representation", "respond-async, Return = Representation; foo=1"])
def test_a_representation_has_the_keys_of_the_stored_records(api: Api, prefer: str) -> None:
    answer = api.insert_one(LICENSE_ARN, usage(m=1), {"Prefer": prefer})

    assert answer.body == {
        "records": [{"customerIdentifier": LICENSE_ARN, "create_timestamp": api.request_time}]
    }
    assert answer.headers["Preference-Applied"] == "return=representation"


def test_a_representation_is_sorted_by_customer(api: Api) -> None:
    answer = api.insert_many(buyers(*reversed(WITHOUT_IDS)), {"Prefer": "return=representation"})

    assert [record["customerIdentifier"] for record in answer.body["records"]] == [f"c{n}" for n in range(8)]


def test_a_preference_we_do_not_know_is_ignored(api: Api) -> None:
    answer = api.insert_one("c", usage(m=1), {"Prefer": "return=minimal, wait=10"})

    assert (answer.status, answer.body) == (200, {})
    assert "Preference-Applied" not in answer.headers


@pytest.mark.usefixtures("small_chunks")
class TestIncomplete:
    """A request for which the function's time was not enough."""

    def answer(self, api: Api, calls: "Calls", body: object, headers: dict[str, str] | None = None) -> Answer:
        calls.time_out_after(1)
        answer = api.insert_many(body, headers)
        calls.again()
        assert answer.status == 503
        assert answer.body["type"] == "urn:marketplace-metering:problem:incomplete"
        return answer

    def test_without_key_and_ids_it_is_resumed_by_its_request_id(
        self, api: Api, stored: "StoredItems", calls: "Calls"
    ) -> None:
        answer = self.answer(api, calls, buyers(*WITHOUT_IDS))

        until = instant(api.request_time // 1_000 + 86_400)
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

    def test_with_a_key_it_is_repeated_as_it_was(
        self, api: Api, stored: "StoredItems", calls: "Calls"
    ) -> None:
        answer = self.answer(api, calls, buyers(*WITHOUT_IDS), KEY)

        assert answer.body["idempotency_key"] == "order 66"
        assert answer.headers["Retry-After"] == "5"
        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).status == 200
        assert len(stored.all()) == 8

    def test_with_ids_only_it_needs_no_key(self, api: Api, stored: "StoredItems", calls: "Calls") -> None:
        answer = self.answer(api, calls, buyers(*WITH_IDS))

        assert answer.body["inserted"] == 2
        assert answer.body["resume_until"] == instant(api.request_time // 1_000 + 86_400)
        assert "idempotency_key" not in answer.body
        assert "Idempotency-Key" not in answer.body["detail"]
        assert "Send the request again as it is" in answer.body["detail"]
        assert answer.headers["Retry-After"] == "5"
        assert len(api.insert_many(buyers(*WITH_IDS)).body["duplicates"]) == 2
        assert len(stored.all()) == 8

    def test_one_entry_without_id_makes_the_key_needed(self, api: Api, calls: "Calls") -> None:
        answer = self.answer(api, calls, buyers(*WITH_IDS[1:], WITHOUT_IDS[0]))

        assert answer.body["idempotency_key"] == EXTENDED_REQUEST_ID
        assert "Retry-After" not in answer.headers

    def test_inserted_counts_entries_as_they_were_sent(self, api: Api, calls: "Calls") -> None:
        """The first chunk has c6, of three entries, and c7."""
        answer = self.answer(api, calls, buyers(*WITHOUT_IDS, *WITHOUT_IDS[6:7] * 2))

        assert answer.body["inserted"] == 4
        assert " 4 of 10 " in answer.body["detail"]

    def test_inserted_counts_known_entries_too(self, api: Api, calls: "Calls") -> None:
        api.insert_many(buyers(*WITH_IDS[6:7]))
        answer = self.answer(api, calls, buyers(*WITH_IDS[:7], WITHOUT_IDS[7]), KEY)

        # What is known is left out when its chunk is written: here in the first one, with the new c7.
        assert answer.body["inserted"] == 2

    def test_a_resume_says_the_first_ones_end(self, api: Api, calls: "Calls") -> None:
        until = self.answer(api, calls, buyers(*WITHOUT_IDS), KEY).body["resume_until"]
        api.request_time += 3_600_000

        def time_out(call: object, **request: object) -> object:
            api.context.remaining_ms = 0
            return call(**request)  # type: ignore[operator]

        calls.on_write = time_out

        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).body["resume_until"] == until

    def test_no_chunk_is_begun_without_time_to_end_it(
        self, api: Api, stored: "StoredItems", calls: "Calls"
    ) -> None:
        api.context.remaining_ms = 5_000

        answer = api.insert_many(buyers(*WITHOUT_IDS))

        assert (answer.status, answer.body["inserted"]) == (503, 0)
        assert calls.log == []
        assert stored.all() == []


@pytest.mark.parametrize(
    "code",
    ["ThrottlingException", "TransactionInProgressException", "ProvisionedThroughputExceededException"],
)
def test_a_write_that_is_always_refused_ends_as_a_503_in_time(api: Api, calls: "Calls", code: str) -> None:
    calls.refuse(code)

    assert api.insert_one("c", usage(m=1)).status == 503
    assert 4_000 <= api.context.remaining_ms <= 5_000


def test_an_unknown_outcome_is_repeated_with_its_token(
    api: Api, stored: "StoredItems", calls: "Calls"
) -> None:
    requests = []

    def write(call: object, **request: object) -> object:
        requests.append(request)
        if len(requests) == 1:
            raise ConnectTimeoutError(endpoint_url="https://dynamodb")
        if len(requests) == 2:
            raise ClientError(
                {"Error": {"Code": "", "Message": ""}, "ResponseMetadata": {"HTTPStatusCode": 502}},  # type: ignore[typeddict-item]
                "TransactWriteItems",
            )
        return call(**request)  # type: ignore[operator]

    calls.on_write = write

    assert api.insert_one("c", usage("t", m=1)).status == 200
    assert requests[0] == requests[1] == requests[2]
    assert len(stored.all()) == 1


def test_after_a_cancellation_the_token_is_new(api: Api, calls: "Calls") -> None:
    api.insert_one("c", usage(m=1))
    tokens = []

    def write(call: object, **request: object) -> object:
        tokens.append(request["ClientRequestToken"])
        return call(**request)  # type: ignore[operator]

    calls.on_write = write

    assert api.insert_one("c", usage(m=1)).status == 200
    assert len(set(tokens)) == len(tokens) == 2


@pytest.mark.parametrize("body", [usage(m=1), usage("t", m=1)], ids=["without id", "with id"])
def test_an_unexpected_error_says_how_to_repeat_the_request(
    api: Api, dynamodb: "DynamoDBClient", body: object
) -> None:
    dynamodb.delete_table(TableName=METERING_TABLE_NAME)

    answer = api.insert_one("c", body)

    assert answer.status == 500
    assert answer.body == {
        "type": "urn:marketplace-metering:problem:internal-error",
        "title": "Internal error",
        "status": 500,
        "detail": f"Something went wrong on our side. {SAFE_REPEAT} "
        "Quote the request id in instance to the operator.",
        "instance": EXTENDED_REQUEST_ID,
    }


@pytest.mark.usefixtures("small_chunks", "half_written")
class TestChangedDimensions:
    """What the deployment allows changes between a 503 and its resume."""

    @pytest.fixture
    def half_written(self, api: Api, calls: "Calls", monkeypatch: pytest.MonkeyPatch) -> None:
        calls.time_out_after(1)
        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).status == 503
        calls.again()
        monkeypatch.setattr(known_dimensions, "KNOWN_DIMENSIONS", frozenset({"other"}))

    def test_the_resume_goes_on(self, api: Api, stored: "StoredItems") -> None:
        assert api.insert_many(buyers(*WITHOUT_IDS), KEY, query={"dry_run": "true"}).body["records"] == 6
        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).status == 200
        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).is_replay
        assert len(stored.all()) == 8

    @pytest.mark.parametrize(
        ("entries", "headers"),
        [
            (WITHOUT_IDS, {}),
            (WITHOUT_IDS, {"Idempotency-Key": "another"}),
            (WITHOUT_IDS[:7], KEY),
            (WITH_IDS, {}),
        ],
        ids=["no key", "another key", "other entries", "ids"],
    )
    def test_another_request_is_refused(
        self, api: Api, stored: "StoredItems", entries: list[dict[str, object]], headers: dict[str, str]
    ) -> None:
        answer = api.insert_many(buyers(*entries), headers)

        assert answer.status == 422
        assert {code for _, code in answer.problem_codes()} == {"unknown_dimension"}
        assert len(stored.all()) == 2

    def test_a_request_that_breaks_a_rule_is_refused(self, api: Api) -> None:
        answer = api.insert_many(buyers(*WITHOUT_IDS, *[buyer("c1", "t", m=1)] * 2), KEY)

        assert {"duplicate_transaction_id", "unknown_dimension"} == {
            code for _, code in answer.problem_codes()
        }

    def test_a_resume_after_its_end_is_refused(self, api: Api) -> None:
        api.request_time += 26 * 3_600_000

        assert api.insert_many(buyers(*WITHOUT_IDS), KEY).status == 422
