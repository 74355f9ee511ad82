"""Request ids: what they identify, and which records count as new."""

import json

import pytest
from botocore.exceptions import ReadTimeoutError

from metering_handlers import insert_metering_record
from metering_handlers.inserting import insertion
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import KEY, Api, buyer, buyers, usage
from tests.unit.proxy_event import proxy_event

DONE: tuple[int, object, bool] = (200, {}, False)


def inserted(capsys: pytest.CaptureFixture[str]) -> list[float]:
    """Return what each request since the last call has counted as RecordsInserted."""
    metrics = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "_aws" in line]
    return [count for metric in metrics for count in metric["RecordsInserted"]]


def test_an_event_without_extended_id_uses_lambdas_request_id(api: Api, stored: StoredItems) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1))
    del event["requestContext"]["extendedRequestId"]

    api.call(insert_metering_record.lambda_handler, event)

    assert [item["request_id"]["S"] for item in stored.all()] == [api.context.aws_request_id]


@pytest.mark.parametrize("headers", [{}, KEY], ids=["no key", "key"])
@pytest.mark.parametrize("body", [usage(m=1), usage("t", m=1)], ids=["no id", "id"])
def test_an_event_that_lambda_runs_twice_is_one_request(
    api: Api, stored: StoredItems, capsys: pytest.CaptureFixture[str], body: object, headers: dict[str, str]
) -> None:
    """Written once and counted once, and neither a replay nor a duplicate."""
    event = proxy_event("POST", "/insertMeteringRecord/c", body=body, headers=headers)

    for _ in range(2):
        assert api.call(insert_metering_record.lambda_handler, event).outcome == DONE
    assert len(stored.all()) == 1
    assert inserted(capsys) == [1, 0]


@pytest.mark.parametrize("ids", [(None, None), ("t1", "t2"), (None, "t2")], ids=["no id", "ids", "one id"])
def test_a_record_whose_answer_was_lost_is_counted_once(
    api: Api,
    stored: StoredItems,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    ids: tuple[str | None, str | None],
) -> None:
    """moto does not know request tokens, so the repeat meets the rows: as after ten minutes on AWS."""
    client = insertion.tables.client
    transact = client.transact_write_items
    outcomes = iter([ReadTimeoutError(endpoint_url="https://dynamodb")])

    def commit_and_lose_the_answer(**request: object) -> object:
        answer = transact(**request)  # type: ignore[arg-type]
        for error in outcomes:
            raise error
        return answer

    monkeypatch.setattr(client, "transact_write_items", commit_and_lose_the_answer)

    assert api.insert_many(buyers(buyer("c", ids[0], m=1), buyer("d", ids[1], m=1))).outcome == DONE
    assert len(stored.all()) == 2
    assert inserted(capsys) == [2]
