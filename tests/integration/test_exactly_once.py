"""Retries, races and crashes, over HTTP against the deployed API: no record is lost and none is doubled."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import boto3
import pytest
import requests

from tests.integration.http_calls import ONE_DIMENSION, count_all, post, stored, usage_of
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api

CLIENTS = 16
"""The local cloud starts a process with its own copy of the bundle for each, which takes most of the time."""
MAX_AHEAD_MS = 10_000


def at_once(call: Callable[[int], requests.Response]) -> list[requests.Response]:
    """Let all clients call in the same moment."""
    start = threading.Barrier(CLIENTS)

    def client(number: int) -> requests.Response:
        start.wait()
        return call(number)

    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(client, range(CLIENTS)))


def bulk(customer: str, count: int) -> dict[str, object]:
    return {
        "buyers": [{"customerIdentifier": f"{customer}-{number}", **ONE_DIMENSION} for number in range(count)]
    }


def entry(customer: str, transaction_id: str, dimension: str, quantity: int) -> dict[str, object]:
    return {
        "customerIdentifier": customer,
        "transaction_id": transaction_id,
        "metered_dimensions": [{"dimension_name": dimension, "dimension_value": quantity}],
    }


def sums_of(api: Api, *customers: str) -> Counter[tuple[str, str]]:
    """Add up what is stored, by customer and dimension, as the hourly job does."""
    sums: Counter[tuple[str, str]] = Counter()
    for customer in customers:
        for item in stored(api, customer):
            sums.update({(customer, name): quantity for name, quantity in usage_of(item).items()})
    return sums


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


@pytest.mark.parametrize(
    "usage", [ONE_DIMENSION, ONE_DIMENSION | {"transaction_id": "1"}], ids=["plain", "with an id"]
)
def test_clients_at_once_with_one_key_write_one_record(
    api: Api, customer: str, usage: dict[str, object]
) -> None:
    answers = at_once(
        lambda _: post(
            api,
            f"/insertMeteringRecord/{customer}",
            usage,
            {"Idempotency-Key": customer, "Prefer": "return=representation"},
        )
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert len(stored(api, customer)) == 1


def test_clients_at_once_with_one_id_in_other_company_store_it_once(api: Api, customer: str) -> None:
    """Each request has the shared entry and one of its own; every other request has a key."""

    def call(number: int) -> requests.Response:
        buyers = [entry(customer, name, "m", 1) for name in ("shared", f"own-{number}")]
        key = {"Idempotency-Key": f"{customer}-{number}"} if number % 2 else {}
        return post(api, "/insertMeteringRecords", {"buyers": buyers}, key)

    answers = at_once(call)

    assert {answer.status_code for answer in answers} == {200}
    duplicates = [known for answer in answers for known in answer.json().get("duplicates", [])]
    assert [known["transaction_id"] for known in duplicates] == ["shared"] * (CLIENTS - 1)
    assert len({known["create_timestamp"] for known in duplicates}) == 1
    assert sums_of(api, customer) == {(customer, "m"): CLIENTS + 1}


def test_clients_at_once_with_keys_of_their_own_write_a_record_each(api: Api, customer: str) -> None:
    answers = at_once(
        lambda number: post(
            api,
            f"/insertMeteringRecord/{customer}",
            ONE_DIMENSION,
            {"Idempotency-Key": f"{customer}-{number}"},
        )
    )

    assert {answer.status_code for answer in answers} == {200}
    assert len(stored(api, customer)) == CLIENTS


def test_a_request_whose_function_is_killed_is_completed_by_its_key(api: Api, customer: str) -> None:
    before = count_all(api)
    payload = bulk(customer, 10_000)
    headers = {"Idempotency-Key": customer}
    # Starts the function's process.
    assert post(api, "/insertMeteringRecords", {"buyers": []}).status_code == 422
    function_name = insert_many_function_name()

    with ThreadPoolExecutor(1) as client:
        first = client.submit(post, api, "/insertMeteringRecords", payload, headers)
        while count_all(api) < before + 1_000:
            assert not first.done(), "The request was answered before its function could be killed."
        kill_processes_of(function_name)
        assert first.result().status_code >= 500
    half_done = count_all(api) - before
    assert 1_000 <= half_done < 10_000

    assert post(api, "/insertMeteringRecords", bulk(customer, 9_999), headers).status_code == 422
    assert count_all(api) - before == half_done

    answer = post(api, "/insertMeteringRecords", payload, headers)
    assert answer.status_code == 200
    assert "idempotent-replayed" not in answer.headers
    assert count_all(api) - before == 10_000

    answer = post(api, "/insertMeteringRecords", payload, headers)
    assert (answer.status_code, answer.headers["idempotent-replayed"]) == (200, "true")
    assert count_all(api) - before == 10_000


def test_a_request_abandoned_50_times_at_random_moments_is_stored_once(api: Api, customer: str) -> None:
    before = count_all(api)
    body = json.dumps(bulk(customer, 300)).encode()
    headers = {"Idempotency-Key": customer}
    moments = random.Random(50)  # noqa: S311 - spreads moments, hides nothing
    statuses: list[int] = []

    def call(patience: float) -> None:
        with suppress(requests.Timeout):
            answer = send(api, "POST", "/insertMeteringRecords", body, headers, timeout_seconds=patience)
            statuses.append(answer.status_code)

    for _ in range(50):
        call(moments.uniform(0.02, 0.5))
    statuses.clear()
    # As billing software does: repeat until there is a final answer.
    while not statuses or statuses[-1] >= 500:
        call(60)

    assert statuses[-1] == 200
    assert count_all(api) == before + 300


def test_a_killed_client_that_regroups_unsent_usage_is_billed_once(api: Api, customer: str) -> None:
    """The client notes what it has sent after the answer, and starts again from its notes after each kill."""
    chosen = random.Random(18)  # noqa: S311 - the same requests each time
    customers = [f"{customer}-{number}" for number in range(5)]
    usage = {
        number: (chosen.choice(customers), f"m{number % 7}", chosen.randrange(1_000)) for number in range(800)
    }
    unsent = set(usage)
    abandoned = skipped = 0
    while unsent:
        # What is still to be sent, and some of what was sent before the notes were written.
        pool = [*unsent, *chosen.sample(range(len(usage)), 20)]
        numbers = {*chosen.sample(pool, min(len(pool), chosen.randint(1, 250)))}
        buyers = [
            entry(buyer, str(number), dimension, quantity)
            for number in chosen.sample([*numbers], len(numbers))
            for buyer, dimension, quantity in [usage[number]]
        ]
        key = {"Idempotency-Key": f"{customer}-{len(unsent)}-{abandoned}"} if chosen.random() < 0.3 else {}
        body = json.dumps({"buyers": buyers}).encode()
        is_killed = chosen.random() < 0.6
        patience = chosen.uniform(0.01, 0.4) if is_killed else 60
        with suppress(requests.Timeout):
            answer = send(api, "POST", "/insertMeteringRecords", body, key, timeout_seconds=patience)
            assert answer.status_code == 200, answer.content
            skipped += len(answer.json().get("duplicates", []))
            if not is_killed:
                unsent -= numbers
        abandoned += is_killed

    assert abandoned
    assert skipped
    expected: Counter[tuple[str, str]] = Counter()
    for buyer, dimension, quantity in usage.values():
        expected[buyer, dimension] += quantity
    assert sums_of(api, *customers) == expected
    latest = max(int(item["create_timestamp"]["N"]) for buyer in customers for item in stored(api, buyer))
    assert latest <= time.time() * 1000 + MAX_AHEAD_MS
