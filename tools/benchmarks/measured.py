"""Measurements in one process: of a function beside a reference, and of inserts at DynamoDB's limits."""

import dataclasses
import json
import os
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any
from unittest.mock import patch

import boto3
from botocore.client import BaseClient
from botocore.config import Config
from mypy_boto3_dynamodb.service_resource import Table
from tenacity import Retrying, retry_if_exception_type, wait_fixed

from metering_handlers import dynamodb
from metering_handlers.inserting import insertion, writer
from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.deployment_rules import DeploymentRules
from metering_handlers.inserting.request_state import InsertRequest
from metering_handlers.inserting.subscribers import Subscribers
from tools.benchmarks import calls
from tools.benchmarks.calls import Context, Event, new_customer

Side = Callable[[], float]
"""Measures once; returns the ms of a call, an entry or a record."""
Pairs = list[tuple[float, float]]
"""Ours, and the reference's."""

_ROUNDS = 15
_CALLS = 60
_THREADS = 32
_RETRY_AFTER_SECONDS = 5
_TABLE = os.environ["METERING_TABLE_NAME"]
_CLOCKS = {"cpu": time.process_time, "wall": time.perf_counter}
_LOADS: dict[str, tuple[Callable[[], Event], int]] = {
    "insert_one": (calls.insert_one, _CALLS),
    "insert_many": (partial(calls.insert_many, 1_000, 1_000), 1),
}
"""By function: what is sent to it, and how often in one measurement."""


def over_powertools() -> Pairs:
    """CPU of a whole call, and of Powertools with an empty route plus a bare call to DynamoDB."""
    client = boto3.client("dynamodb")
    empty_route = calls.handler_of("empty_route")

    def call_both(sent: list[Event], transactions: list[dict[str, Any]]) -> None:
        for event, transaction in zip(sent, transactions, strict=True):
            calls.call(empty_route, event)
            client.transact_write_items(**transaction)

    def reference() -> float:
        sent = [calls.insert_one() for _ in range(_CALLS)]
        return _ms("cpu", partial(call_both, sent, _transactions_of(sent)), _CALLS)

    return _alternately(_calls("insert_one", "cpu", *_LOADS["insert_one"]), reference)


def beside_peer(function: str, clock: str) -> Pairs:
    """Warm calls of a function, and of the peer."""
    return _alternately(_calls(function, clock, *_LOADS[function]), _calls("peer", clock, *_LOADS[function]))


def beside_batch_writer(entries: int, customers: int) -> Pairs:
    """One call, and boto3's batch_writer, unconditional, with an item for each entry."""

    def reference() -> float:
        identifiers = [new_customer() for _ in range(customers)]
        return _write_batch([identifiers[number % customers] for number in range(entries)])

    return _alternately(_bulk(entries, customers, "wall"), reference)


def beside_threads(entries: int) -> Pairs:
    """One call with ids, and 32 threads that write each record with its id's row."""
    client = boto3.client("dynamodb", config=Config(max_pool_connections=_THREADS))

    def write(sent: list[dict[str, Any]]) -> None:
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda each: client.transact_write_items(**each), sent))

    def reference() -> float:
        sent = _transactions_of([calls.insert_one(transaction_id=str(uuid.uuid4())) for _ in range(entries)])
        return _ms("wall", partial(write, sent), entries)

    return _alternately(_bulk(entries, entries, "wall", with_ids=True), reference)


def growth(many: int, few: int) -> Pairs:
    """CPU of a record of many customers in one call, and of few."""
    return _alternately(_bulk(many, many, "cpu"), _bulk(few, few, "cpu"))


def beside_no_lookup(function: str, known: str, clock: str) -> Pairs:
    """With the table of subscribers, in which the function has found the customers before or not; without."""
    new_event, times = _LOADS[function]
    subscribers = Subscribers(insertion.tables.client, "subscribers")
    table = boto3.resource("dynamodb").Table("subscribers")

    def of_subscribers() -> Event:
        event = new_event()
        customers = calls.customers_of(event)
        _put_all(table, [{"customerIdentifier": customer} for customer in customers])
        if known == "warm":
            subscribers.unknown(customers, _now_ms(), Context().get_remaining_time_in_millis)
        return event

    measure = _calls(function, clock, of_subscribers, times)

    def with_rules(rules: DeploymentRules) -> float:
        with patch.object(insertion, "rules", rules):
            return measure()

    sides = (dataclasses.replace(insertion.rules, subscribers=each) for each in (subscribers, None))
    ours, reference = (partial(with_rules, each) for each in sides)
    return _alternately(ours, reference)


def beside_query(records: int, query: dict[str, str], limit: dict[str, int]) -> Pairs:
    """CPU of a record in a list or in totals, and in the bare queries."""
    customer = new_customer()
    _write_batch([customer] * records)
    client = boto3.client("dynamodb")
    bare: dict[str, Any] = limit | {
        "TableName": _TABLE,
        "KeyConditionExpression": "customerIdentifier = :customer",
        "ExpressionAttributeValues": {":customer": {"S": customer}},
        "ConsistentRead": True,
    }

    def read_bare() -> None:
        answer = client.query(**bare)
        while last := answer.get("LastEvaluatedKey"):
            answer = client.query(**bare, ExclusiveStartKey=last)

    event = partial(calls.list_records, customer, **query)
    listed = _answer_of_list(event())
    if listed.get("record_count", len(listed.get("records", ()))) != records:
        raise RuntimeError("the list does not cover all records")
    return _alternately(_calls("list", "cpu", event, 1, records), lambda: _ms("cpu", read_bare, records))


def depth(pages: int) -> Pairs:
    """Time the last of so many pages of 100 records, and the first."""
    customer = new_customer()
    _write_batch([customer] * 100 * pages)
    first = last = partial(calls.list_records, customer, limit="100")
    for _ in range(pages - 1):
        last = partial(first, next_token=_answer_of_list(last())["next_token"])
    return _alternately(_calls("list", "wall", last, 20), _calls("list", "wall", first, 20))


def goodput(requests: int, entries: int) -> dict[str, float]:
    """Send requests at once, with an entry for each customer, and repeat them until all is stored."""
    usage = {used["dimension_name"]: used["dimension_value"] for used in calls.USAGE}
    started = threading.Barrier(requests)

    def send(_: int) -> tuple[float, int]:
        client = dynamodb.connect(max_connections=writer.WRITE_PARALLELISM)
        tables = dataclasses.replace(insertion.tables, client=client)
        customers = sorted(new_customer() for _ in range(entries))
        canonical = [CanonicalEntry(customer, "", usage, sent=1) for customer in customers]
        key = str(uuid.uuid4())

        def write() -> None:
            remaining_ms = Context().get_remaining_time_in_millis
            request = InsertRequest(canonical, key, str(uuid.uuid4()), _now_ms(), remaining_ms)
            writer.write(tables, request)

        is_incomplete = retry_if_exception_type(writer.IncompleteWriteError)
        repeat = Retrying(retry=is_incomplete, wait=wait_fixed(_RETRY_AFTER_SECONDS))
        started.wait()
        first = time.monotonic()
        repeat(write)
        return time.monotonic() - first, repeat.statistics["attempt_number"]

    with ThreadPoolExecutor(requests) as pool:
        seconds, tries = zip(*pool.map(send, range(requests)), strict=True)
    return {
        "records_per_second": round(requests * entries / max(seconds), 1),
        "seconds": round(max(seconds), 2),
        "complete_at_first": tries.count(1),
        "tries": max(tries),
    }


def _alternately(ours: Side, reference: Side) -> Pairs:
    """Measure both sides in turn, after one run that does not count."""
    return [(ours(), reference()) for _ in range(_ROUNDS + 1)][1:]


def _calls(function: str, clock: str, new_event: Callable[[], Event], times: int = 1, units: int = 1) -> Side:
    """Return what measures calls with new events, each of so many entries or records."""
    handler = calls.handler_of(function)

    def measure() -> float:
        sent = [new_event() for _ in range(times)]
        return _ms(clock, lambda: [calls.call(handler, event) for event in sent], times * units)

    return measure


def _bulk(entries: int, customers: int, clock: str, *, with_ids: bool = False) -> Side:
    event = partial(calls.insert_many, entries, customers, with_ids=with_ids)
    return _calls("insert_many", clock, event, 1, entries)


def _ms(clock: str, work: Callable[[], object], units: int) -> float:
    now = _CLOCKS[clock]
    started = now()
    work()
    return (now() - started) / units * 1000


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _answer_of_list(event: Event) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(calls.call(calls.handler_of("list"), event)["body"])
    return answer


def _write_batch(customers: list[str]) -> float:
    """Store a record for each, by boto3's batch_writer; return the ms that one takes."""
    now = _now_ms()
    usage = [{"dimension": used["dimension_name"], "value": used["dimension_value"]} for used in calls.USAGE]
    records: list[dict[str, Any]] = [
        {
            "customerIdentifier": customer,
            "create_timestamp": now + number,
            "metering_pending": "true",
            "dimension_usage": usage,
            "request_id": str(uuid.uuid4()),
        }
        for number, customer in enumerate(customers)
    ]
    table = boto3.resource("dynamodb").Table(_TABLE)
    return _ms("wall", partial(_put_all, table, records), len(records))


def _put_all(table: Table, items: list[dict[str, Any]]) -> None:
    with table.batch_writer() as batch:
        for item in items:
            batch.put_item(Item=item)


def _transactions_of(inserts: list[Event]) -> list[dict[str, Any]]:
    """Return what our function would send for single inserts: record and row, each with its condition."""
    sent: list[dict[str, Any]] = []
    handler = calls.handler_of("insert_one")
    with patch.object(BaseClient, "_make_api_call", lambda *arguments: sent.append(arguments[2])):
        for event in inserts:
            calls.call(handler, event)
    return sent
