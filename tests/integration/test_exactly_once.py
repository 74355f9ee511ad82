"""Retries, races and crashes, over HTTP against the deployed API: no record is lost and none is doubled."""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import boto3
import pytest
import requests

from tests.integration.http_calls import MANY, count_all, insert, post, stored, sums_of, usage
from tests.integration.programs import output_of
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api

CLIENTS = 16
"""The local cloud starts a process with its own copy of the bundle for each, which takes most of the time."""
MAX_AHEAD_MS = 10_000


def at_once(call: Callable[[int], requests.Response]) -> list[requests.Response]:
    """Let all clients call in the same moment; all have to succeed."""
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> requests.Response:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(CLIENTS) as clients:
        answers = list(clients.map(client, range(CLIENTS)))
    assert {answer.status_code for answer in answers} == {200}
    return answers


def bulk(customer: str, count: int) -> dict[str, object]:
    return {"buyers": [usage(customerIdentifier=f"{customer}-{number}") for number in range(count)]}


def kill_insert_many() -> None:
    """Kill the processes that the local cloud runs the function in, as a crash would."""
    functions = boto3.client("lambda").list_functions()["Functions"]
    handler = "metering_handlers.insert_metering_records.lambda_handler"
    (name,) = (function["FunctionName"] for function in functions if function["Handler"] == handler)
    processes = [
        int(line.split()[0])
        for line in output_of("ps", "-axww", "-o", "pid=,command=").splitlines()
        if line.endswith("_worker.py") and f"-{name}-" in line
    ]
    assert processes
    for process_id in processes:
        os.kill(process_id, signal.SIGKILL)


@pytest.mark.parametrize("payload", [usage(), usage(transaction_id="1")], ids=["plain", "with an id"])
def test_clients_at_once_with_one_key_write_one_record(
    api: Api, customer: str, payload: dict[str, object]
) -> None:
    answers = at_once(
        lambda _: insert(api, customer, payload, Idempotency_Key=customer, Prefer="return=representation")
    )

    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(stored(api, customer)) == 1


def test_clients_at_once_with_one_id_in_other_company_store_it_once(api: Api, customer: str) -> None:
    """Each request has the shared entry and one of its own; every other request has a key of its own."""

    def call(number: int) -> requests.Response:
        ids = ("shared", f"own-{number}")
        buyers = [usage(customerIdentifier=customer, transaction_id=one) for one in ids]
        key = {"Idempotency-Key": f"{customer}-{number}"} if number % 2 else {}
        return post(api, MANY, {"buyers": buyers}, key)

    duplicates = [known for answer in at_once(call) for known in answer.json().get("duplicates", [])]

    assert [known["transaction_id"] for known in duplicates] == ["shared"] * (CLIENTS - 1)
    assert len({known["create_timestamp"] for known in duplicates}) == 1
    assert sums_of(stored(api, customer)) == {(customer, "m"): CLIENTS + 1}


def test_clients_at_once_with_keys_of_their_own_write_a_record_each(api: Api, customer: str) -> None:
    at_once(lambda number: insert(api, customer, usage(), Idempotency_Key=f"{customer}-{number}"))

    assert len(stored(api, customer)) == CLIENTS


def test_a_request_whose_function_is_killed_is_completed_by_its_key(api: Api, customer: str) -> None:
    before = count_all(api)
    payload = bulk(customer, 10_000)
    headers = {"Idempotency-Key": customer}
    # Starts the function's process.
    assert post(api, MANY, {"buyers": []}).status_code == 422

    with ThreadPoolExecutor(1) as client:
        first = client.submit(post, api, MANY, payload, headers)
        while count_all(api) < before + 1_000:
            assert not first.done(), "The request was answered before its function could be killed."
        kill_insert_many()
        assert first.result().status_code >= 500
    half_done = count_all(api) - before
    assert 1_000 <= half_done < 10_000

    assert post(api, MANY, bulk(customer, 9_999), headers).status_code == 422
    assert count_all(api) - before == half_done

    for replayed in (None, "true"):
        answer = post(api, MANY, payload, headers)
        assert (answer.status_code, answer.content) == (200, b"{}")
        assert answer.headers.get("idempotent-replayed") == replayed
        assert count_all(api) - before == 10_000


def test_a_request_abandoned_50_times_at_random_moments_is_stored_once(api: Api, customer: str) -> None:
    before = count_all(api)
    body = json.dumps(bulk(customer, 300)).encode()
    moments = random.Random(50)  # noqa: S311 - spreads moments, hides nothing

    def status(patience: float) -> int:
        with suppress(requests.Timeout):
            key = {"Idempotency-Key": customer}
            return send(api, "POST", MANY, body, key, timeout_seconds=patience).status_code
        return 504

    for _ in range(50):
        status(moments.uniform(0.02, 0.5))
    # As billing software does: repeat until there is a final answer.
    while (final := status(60)) >= 500:
        pass

    assert final == 200
    assert count_all(api) == before + 300


def test_a_killed_client_that_regroups_unsent_usage_is_billed_once(api: Api, customer: str) -> None:
    """The client notes what it has sent after the answer, and starts again from its notes after each kill."""
    chosen = random.Random(18)  # noqa: S311 - the same requests each time
    entries = [
        usage(
            chosen.randrange(1_000),
            f"m{number % 7}",
            customerIdentifier=f"{customer}-{chosen.randrange(5)}",
            transaction_id=str(number),
        )
        for number in range(800)
    ]
    unsent = set(range(len(entries)))
    abandoned = skipped = 0
    while unsent:
        # What is still to be sent, and some of what was sent before the notes were written.
        pool = [*unsent, *chosen.sample(range(len(entries)), 20)]
        numbers = {*chosen.sample(pool, min(len(pool), chosen.randint(1, 250)))}
        buyers = [entries[number] for number in chosen.sample([*numbers], len(numbers))]
        key = {"Idempotency-Key": f"{customer}-{len(unsent)}-{abandoned}"} if chosen.random() < 0.3 else {}
        body = json.dumps({"buyers": buyers}).encode()
        is_killed = chosen.random() < 0.6
        patience = chosen.uniform(0.01, 0.4) if is_killed else 60
        with suppress(requests.Timeout):
            answer = send(api, "POST", MANY, body, key, timeout_seconds=patience)
            assert answer.status_code == 200, answer.content
            skipped += len(answer.json().get("duplicates", []))
            if not is_killed:
                unsent -= numbers
        abandoned += is_killed

    assert abandoned
    assert skipped
    items = stored(api, customer)
    expected: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        (dimension,) = entry["metered_dimensions"]
        expected[entry["customerIdentifier"], dimension["dimension_name"]] += dimension["dimension_value"]
    assert sums_of(items) == expected
    latest = max(int(item["create_timestamp"]["N"]) for item in items)
    assert latest <= time.time() * 1000 + MAX_AHEAD_MS
