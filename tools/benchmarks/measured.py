"""Comparisons of a function with a reference: ``python -m tools.benchmarks.measured <key>`` prints JSON.

Each has a key of ``results.json``, and returns what to measure: ours, and the reference.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
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

from metering_handlers.inserting.deployment_rules import DeploymentRules
from metering_handlers.inserting.subscribers import Subscribers
from tools.benchmarks import events
from tools.benchmarks.alone import call, handler_of, print_result

Side = Callable[[], float]
Comparison = Callable[[], tuple[Side, Side]]
Clock = Callable[[Callable[[], object], int], float]

UNITS: dict[str, str] = {}
"""By key."""
_COMPARISONS: dict[str, tuple[Comparison, int]] = {}
_ROUNDS = 15
_WARM_CALLS = 60
_BULK = 1_000
_ENTRIES = 10_000
_CUSTOMERS = 300
_THREADS = 32
_TABLE = os.environ.get("METERING_TABLE_NAME", "")


def _compares(key: str, unit: str, rounds: int = _ROUNDS) -> Callable[[Comparison], Comparison]:
    def register(comparison: Comparison) -> Comparison:
        UNITS[key] = unit
        _COMPARISONS[key] = comparison, rounds
        return comparison

    return register


def pairs(key: str) -> list[tuple[float, float]]:
    """Measure both sides alternately, after one run that does not count."""
    comparison, rounds = _COMPARISONS[key]
    ours, reference = comparison()
    ours()
    reference()
    return [(ours(), reference()) for _ in range(rounds)]


def _cpu_ms(work: Callable[[], object], times: int) -> float:
    """Return the CPU of one of so many times that the work does the same."""
    started = time.process_time()
    work()
    return (time.process_time() - started) / times * 1000


def _wall_ms(work: Callable[[], object], times: int) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) / times * 1000


@_compares("warm.over_powertools", "ms CPU")
def _warm() -> tuple[Side, Side]:
    """CPU of a whole call, and of Powertools with an empty route plus a bare call to DynamoDB."""
    handler, empty_route = handler_of("insert_one"), handler_of("empty_route")
    client = boto3.client("dynamodb")

    def ours() -> float:
        sent = [events.insert_one() for _ in range(_WARM_CALLS)]
        return _cpu_ms(lambda: [call(handler, event) for event in sent], _WARM_CALLS)

    def reference() -> float:
        sent = [events.insert_one() for _ in range(_WARM_CALLS)]
        transactions = _transactions_of(sent)

        def call_both() -> None:
            for event, transaction in zip(sent, transactions, strict=True):
                call(empty_route, event)
                client.transact_write_items(**transaction)

        return _cpu_ms(call_both, _WARM_CALLS)

    return ours, reference


def _beside_peer(
    function: str, clock: Clock, event: Callable[[], events.Event], calls: int
) -> tuple[Side, Side]:
    def side(name: str) -> Side:
        handler = handler_of(name)

        def measure() -> float:
            sent = [event() for _ in range(calls)]
            return clock(lambda: [call(handler, each) for each in sent], calls)

        return measure

    return side(function), side("peer")


@_compares("peer.insert_one.wall", "ms")
def _peer_one_wall() -> tuple[Side, Side]:
    return _beside_peer("insert_one", _wall_ms, events.insert_one, _WARM_CALLS)


@_compares("peer.insert_one.cpu", "ms CPU")
def _peer_one_cpu() -> tuple[Side, Side]:
    return _beside_peer("insert_one", _cpu_ms, events.insert_one, _WARM_CALLS)


@_compares("peer.insert_many", "ms")
def _peer_many() -> tuple[Side, Side]:
    """Wall time of one call with 1,000 customers, and of the peer's."""
    return _beside_peer("insert_many", _wall_ms, lambda: events.insert_many(_BULK, _BULK), 1)


@_compares("bulk.vs_batch_writer", "entries/s")
def _bulk_beside_batch_writer() -> tuple[Side, Side]:
    """One call with 1,000 customers, and boto3's batch_writer, unconditional."""
    return _bulk(_BULK, _BULK), lambda: _batch_writer_rate(_BULK, _BULK)


@_compares("bulk.entries", "entries/s", rounds=5)
def _bulk_entries() -> tuple[Side, Side]:
    """One call with 10,000 entries of 300 customers, and batch_writer, an item for each."""
    return _bulk(_ENTRIES, _CUSTOMERS), lambda: _batch_writer_rate(_ENTRIES, _CUSTOMERS)


@_compares("bulk.with_ids", "entries/s")
def _bulk_with_ids() -> tuple[Side, Side]:
    """One call with ids, and 32 threads that write each record with its id's row."""
    client = boto3.client("dynamodb", config=Config(max_pool_connections=_THREADS))

    def threads() -> float:
        transactions = _transactions_of([events.insert_one(str(uuid.uuid4())) for _ in range(_BULK)])

        def write() -> None:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(lambda each: client.transact_write_items(**each), transactions))

        return 1000 / _wall_ms(write, _BULK)

    return _bulk(_BULK, _BULK, with_ids=True), threads


def _bulk(entries: int, customers: int, *, with_ids: bool = False) -> Side:
    """Return what measures the entries/s of one call."""
    handler = handler_of("insert_many")

    def rate() -> float:
        event = events.insert_many(entries, customers, with_ids=with_ids)
        return 1000 / _wall_ms(lambda: call(handler, event), entries)

    return rate


def _batch_writer_rate(entries: int, customers: int) -> float:
    identifiers = [events.new_customer() for _ in range(customers)]
    return 1000 / _write_batch([identifiers[number % customers] for number in range(entries)])


@_compares("bulk.growth", "ms CPU a record", rounds=5)
def _bulk_growth() -> tuple[Side, Side]:
    """CPU of a record of 10,000 customers in one call, and of 1,000."""
    handler = handler_of("insert_many")

    def cpu(count: int) -> float:
        event = events.insert_many(count, count)
        return _cpu_ms(lambda: call(handler, event), count)

    return lambda: cpu(_ENTRIES), lambda: cpu(_BULK)


def _beside_no_lookup(
    function: str, clock: Clock, event: Callable[[], events.Event], calls: int, *, is_known: bool
) -> tuple[Side, Side]:
    """With the table of subscribers, in which the function has found the customers before or not; without."""
    from metering_handlers.inserting import insertion  # noqa: PLC0415 - it needs the functions' environment

    handler = handler_of(function)
    subscribers = Subscribers(insertion.tables.client, "subscribers")

    def side(rules: DeploymentRules) -> Side:
        def measure() -> float:
            sent = [event() for _ in range(calls)]
            customers = [customer for each in sent for customer in events.customers_of(each)]
            with boto3.resource("dynamodb").Table("subscribers").batch_writer() as batch:
                for customer in customers:
                    batch.put_item(Item={"customerIdentifier": customer})
            if is_known:
                time_ms = time.time_ns() // 1_000_000
                subscribers.unknown(customers, time_ms, events.Context.get_remaining_time_in_millis)
            with patch.object(insertion, "rules", rules):
                return clock(lambda: [call(handler, each) for each in sent], calls)

        return measure

    without = dataclasses.replace(insertion.rules, subscribers=None)
    return side(dataclasses.replace(without, subscribers=subscribers)), side(without)


def _register_lookups() -> None:
    """Register the keys ``lookup.<function>.<cold or warm>.<cpu or wall>``."""
    many = partial(events.insert_many, _BULK, _BULK)
    for function, event, calls in (("insert_one", events.insert_one, _WARM_CALLS), ("insert_many", many, 1)):
        for kind, unit, clock in (
            ("cold.cpu", "ms CPU", _cpu_ms),
            ("cold.wall", "ms", _wall_ms),
            ("warm.cpu", "ms CPU", _cpu_ms),
        ):
            is_known = kind.startswith("warm")
            sides = partial(_beside_no_lookup, function, clock, event, calls, is_known=is_known)
            _compares(f"lookup.{function}.{kind}", unit)(sides)


_register_lookups()


@_compares("list.page", "ms CPU a record")
def _list_page() -> tuple[Side, Side]:
    """CPU of a record on a page of 1,000: of a whole call, and of the bare query."""
    return _beside_query(1_000, {"limit": "1000"}, Limit=1_000)


@_compares("list.totals", "ms CPU a record")
def _list_totals() -> tuple[Side, Side]:
    """CPU of a record in totals by dimension: of a whole call, and of the bare queries."""
    return _beside_query(5_000, {"group_by": "dimension", "from": "2000-01-01", "to": str(2**53 - 1)})


def _beside_query(records: int, query: dict[str, str], **page: int) -> tuple[Side, Side]:
    handler, customer = handler_of("list"), events.new_customer()
    _write_batch([customer] * records)
    client = boto3.client("dynamodb")
    bare: dict[str, Any] = {
        "TableName": _TABLE,
        "KeyConditionExpression": "customerIdentifier = :customer",
        "ExpressionAttributeValues": {":customer": {"S": customer}},
        "ConsistentRead": True,
        **page,
    }
    event = events.list_records(customer, **query)
    listed = json.loads(call(handler, event)["body"])
    if listed.get("record_count", len(listed.get("records", ()))) != records:
        raise RuntimeError("the list does not cover all records")

    def read_bare() -> None:
        answer = client.query(**bare)
        while not page and (last := answer.get("LastEvaluatedKey")):
            answer = client.query(**bare, ExclusiveStartKey=last)

    return lambda: _cpu_ms(lambda: call(handler, event), records), lambda: _cpu_ms(read_bare, records)


@_compares("list.depth", "ms")
def _list_depth() -> tuple[Side, Side]:
    """Wall time of the 100th page of 100 records, and of the first."""
    handler, customer = handler_of("list"), events.new_customer()
    _write_batch([customer] * 10_000)
    first = last = events.list_records(customer, limit="100")
    for _ in range(99):
        token = json.loads(call(handler, last)["body"])["next_token"]
        last = events.list_records(customer, limit="100", next_token=token)

    def side(event: events.Event) -> Side:
        return lambda: _wall_ms(lambda: [call(handler, event) for _ in range(20)], 20)

    return side(last), side(first)


def _write_batch(customers: list[str]) -> float:
    """Store a record for each, by boto3's batch_writer; return the ms that one takes."""
    now = time.time_ns() // 1_000_000
    usage = [{"dimension": used["dimension_name"], "value": used["dimension_value"]} for used in events.USAGE]
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

    def write() -> None:
        with table.batch_writer() as batch:
            for record in records:
                batch.put_item(Item=record)

    return _wall_ms(write, len(records))


def _transactions_of(inserts: list[events.Event]) -> list[dict[str, Any]]:
    """Return what our function would send for single inserts: record and row, each with its condition."""
    sent: list[dict[str, Any]] = []
    handler = handler_of("insert_one")
    with patch.object(
        BaseClient, "_make_api_call", lambda _client, _name, parameters: sent.append(parameters)
    ):
        for event in inserts:
            call(handler, event)
    return sent


if __name__ == "__main__":
    print_result(lambda: pairs(sys.argv[1]))
