"""Retries, races and crashes, over HTTP against the deployed API: no record is lost and none is doubled."""

import json
import os
import random
import signal
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

import boto3

from tests.integration.http_calls import ONE_DIMENSION, count_all, post, stored
from tools.local_cloud.api_client import Response, send

if TYPE_CHECKING:
    from collections.abc import Callable

    from tools.local_cloud.deploy import Api

CLIENTS = 32


def at_once(call: "Callable[[int], Response]") -> list[Response]:
    """Let all clients call in the same moment."""
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> Response:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(client, range(CLIENTS)))


def bulk(customer: str, count: int) -> dict[str, object]:
    return {
        "buyers": [{"customerIdentifier": f"{customer}-{number}", **ONE_DIMENSION} for number in range(count)]
    }


def kill_processes_of(function_name: str) -> None:
    """Kill the processes that the local cloud runs the function in, as a crash would."""
    listing = subprocess.run(
        ["ps", "-axww", "-o", "pid=,command="],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    )
    process_ids = [
        int(line.split()[0])
        for line in listing.stdout.splitlines()
        if line.endswith("_worker.py") and f"-{function_name}-" in line
    ]
    assert process_ids
    for process_id in process_ids:
        os.kill(process_id, signal.SIGKILL)


def insert_many_function_name() -> str:
    functions = boto3.client("lambda").list_functions()["Functions"]
    handler = "metering_handlers.insert_metering_records.lambda_handler"
    name: str = next(function["FunctionName"] for function in functions if function["Handler"] == handler)
    return name


def test_32_clients_at_once_with_one_key_write_one_record(api: "Api", customer: str) -> None:
    answers = at_once(
        lambda _: post(
            api,
            f"/insertMeteringRecord/{customer}",
            ONE_DIMENSION,
            {"Idempotency-Key": customer, "Prefer": "return=representation"},
        )
    )

    assert {answer.status for answer in answers} == {200}
    assert len({answer.body for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(stored(api, customer)) == 1


def test_32_clients_at_once_with_keys_of_their_own_write_32_records_for_one_customer(
    api: "Api", customer: str
) -> None:
    answers = at_once(
        lambda number: post(
            api,
            f"/insertMeteringRecord/{customer}",
            ONE_DIMENSION,
            {"Idempotency-Key": f"{customer}-{number}"},
        )
    )

    assert {answer.status for answer in answers} == {200}
    assert len(stored(api, customer)) == CLIENTS


def test_a_bulk_request_whose_function_is_killed_halfway_is_completed_by_its_key(
    api: "Api", customer: str
) -> None:
    before = count_all(api)
    payload = bulk(customer, 10_000)
    headers = {"Idempotency-Key": customer}
    # Starts the function's process.
    assert post(api, "/insertMeteringRecords", {"buyers": []}).status == 422
    function_name = insert_many_function_name()

    with ThreadPoolExecutor(1) as client:
        first = client.submit(post, api, "/insertMeteringRecords", payload, headers)
        while count_all(api) < before + 1_000:
            assert not first.done(), "The request was answered before its function could be killed."
        kill_processes_of(function_name)
        assert first.result().status >= 500
    half_done = count_all(api) - before
    assert 1_000 <= half_done < 10_000

    assert post(api, "/insertMeteringRecords", bulk(customer, 9_999), headers).status == 422
    assert count_all(api) - before == half_done

    answer = post(api, "/insertMeteringRecords", payload, headers)
    assert answer.status == 200
    assert "idempotent-replayed" not in answer.headers
    assert count_all(api) - before == 10_000

    answer = post(api, "/insertMeteringRecords", payload, headers)
    assert (answer.status, answer.headers["idempotent-replayed"]) == (200, "true")
    assert count_all(api) - before == 10_000


def test_a_bulk_request_sent_again_50_times_at_random_moments_ends_as_one_set_of_records(
    api: "Api", customer: str
) -> None:
    before = count_all(api)
    body = json.dumps(bulk(customer, 300)).encode()
    headers = {"Idempotency-Key": customer}
    moments = random.Random(50)  # noqa: S311 - spreads moments, hides nothing
    statuses: list[int] = []

    def call(patience: float) -> None:
        with suppress(TimeoutError):
            answer = send(api, "POST", "/insertMeteringRecords", body, headers, timeout_seconds=patience)
            statuses.append(answer.status)

    for _ in range(50):
        call(moments.uniform(0.02, 0.5))
    statuses.clear()
    # As billing software does: repeat until there is a final answer.
    while not statuses or statuses[-1] >= 500:
        call(60)

    assert statuses[-1] == 200
    assert count_all(api) == before + 300
