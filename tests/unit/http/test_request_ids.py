"""Request ids: what they identify, and which records count as new."""

import json
from typing import TYPE_CHECKING

import pytest
from botocore.exceptions import ReadTimeoutError

from metering_handlers import insert_metering_record
from metering_handlers.inserting import insertion
from tests.unit.lambda_calls import Api, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID, REQUEST_ID, as_json, proxy_event

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems

BODY = as_json(usage(m=1))
JSON = {"Content-Type": "application/json"}


def inserted(capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Return what each request since the last call has counted as RecordsInserted."""
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    return [count for metric in metrics for count in metric["RecordsInserted"]]


def test_requests_with_an_id_that_their_client_chose_are_all_stored(api: Api, stored: "StoredItems") -> None:
    # As a proxy does that forwards one X-Amzn-RequestId with every request.
    for number in range(3):
        event = proxy_event(
            "POST",
            "/insertMeteringRecord/c",
            body=BODY,
            headers=JSON,
            request_id=REQUEST_ID,
            extended_request_id=f"{number}JaXmPLvHcESHA=",
        )
        answer = api.call(insert_metering_record.lambda_handler, event)
        assert (answer.status, answer.body) == (200, {})
        assert "Idempotent-Replayed" not in answer.headers

    assert {item["request_id"]["S"] for item in stored.all()} == {
        f"{number}JaXmPLvHcESHA=" for number in range(3)
    }


def test_an_event_without_an_extended_id_has_lambdas_request_id(api: Api, stored: "StoredItems") -> None:
    event = proxy_event("POST", "/insertMeteringRecord/c", body=BODY, headers=JSON)
    del event["requestContext"]["extendedRequestId"]

    api.call(insert_metering_record.lambda_handler, event)

    assert [item["request_id"]["S"] for item in stored.all()] == [api.context.aws_request_id]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (usage(m=1), JSON),
        (usage(m=1), JSON | {"Idempotency-Key": "order 66"}),
        (usage("t", m=1), JSON),
        (usage("t", m=1), JSON | {"Idempotency-Key": "order 66"}),
    ],
    ids=["plain", "key", "id", "id and key"],
)
def test_an_event_that_lambda_runs_twice_is_one_request(
    api: Api,
    stored: "StoredItems",
    capsys: pytest.CaptureFixture[str],
    body: object,
    headers: dict[str, str],
) -> None:
    """Written once and counted once, and neither a replay nor a duplicate."""
    event = proxy_event("POST", "/insertMeteringRecord/c", body=as_json(body), headers=headers)

    answers = [api.call(insert_metering_record.lambda_handler, event) for _ in range(2)]

    assert [(answer.status, answer.body, answer.is_replay) for answer in answers] == [(200, {}, False)] * 2
    assert len(stored.all()) == 1
    assert inserted(capsys) == [1, 0]


@pytest.mark.parametrize("ids", [(None, None), ("t1", "t2"), (None, "t2")], ids=["no id", "ids", "one id"])
def test_a_record_whose_answer_was_lost_is_counted_once(
    api: Api,
    stored: "StoredItems",
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ids: tuple[str | None, str | None],
) -> None:
    client = insertion.writer.client
    transact = client.transact_write_items
    outcomes = iter([ReadTimeoutError(endpoint_url="https://dynamodb"), None])

    def commit_and_lose_the_answer(**request: object) -> object:
        # moto does not know client request tokens, so the repeat meets the row: as after ten minutes on AWS.
        answer = transact(**request)  # type: ignore[arg-type]
        if error := next(outcomes, None):
            raise error
        return answer

    monkeypatch.setattr(client, "transact_write_items", commit_and_lose_the_answer)

    answer = api.insert_many(buyers(buyer("c", ids[0], m=1), buyer("d", ids[1], m=1)))

    assert (answer.status, answer.body, answer.is_replay) == (200, {}, False)
    assert len(stored.all()) == 2
    assert inserted(capsys) == [2]


def test_a_replay_counts_nothing_as_inserted(api: Api, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        api.insert_one("c", usage(m=1), {"Idempotency-Key": "order 66"})

    assert inserted(capsys) == [1, 0]


def test_a_problem_names_the_id_that_no_client_can_choose(api: Api) -> None:
    assert api.insert_one("c", {}).body["instance"] == EXTENDED_REQUEST_ID
