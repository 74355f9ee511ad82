"""The measurements, each in its own process: ``python -m tools.benchmarks.measured <name>`` prints JSON.

Standard output has only the result; the functions' log lines go to the null device, at the same cost.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_dynamodb import DynamoDBClient

    Handler = Callable[[dict[str, Any], Any], dict[str, Any]]
    T = TypeVar("T")

MODULES = {
    "insert_one": "metering_handlers.insert_metering_record",
    "insert_many": "metering_handlers.insert_metering_records",
    "list": "metering_handlers.list_metering_records",
    "peer": "tools.benchmarks.peer",
    "empty_route": "tools.benchmarks.empty_route",
}
INSERT_ONE = "/insertMeteringRecord/{customerIdentifier+}"
INSERT_MANY = "/insertMeteringRecords"
LIST = "/listMeteringRecords/{customerIdentifier+}"
_ROUNDS = 15
_WARM_CALLS = 60
_BULK = 1_000
_ENTRIES = 10_000
_CUSTOMERS = 300
_THREADS = 32
_PAGE = 1_000
_DEEP_PAGE = 100
_TOTALS = 5_000
_FUNCTION_MS = 27_000
_RETRY_AFTER_SECONDS = 5
_USAGE: list[dict[str, Any]] = [
    {"dimension_name": "metered_1_id", "dimension_value": 10},
    {"dimension_name": "metered_3_id", "dimension_value": 20},
]


def cold_start(function: str) -> dict[str, float]:
    """Import a function's module, which creates its client; for ``reference``, do so with boto3."""
    started = time.perf_counter()
    if function == "reference":
        import boto3  # noqa: PLC0415 - this is what is measured

        boto3.client("dynamodb")
    else:
        _handler(function)
    return {"ms": (time.perf_counter() - started) * 1000, "memory_mb": _peak_mb()}


def bulk_memory() -> dict[str, float]:
    """Insert the usage of 10,000 customers in one call; return the peak memory."""
    _call(_handler("insert_many"), _insert_many_event(_ENTRIES))
    return {"memory_mb": _peak_mb()}


def warm_over_powertools() -> list[tuple[float, float]]:
    """CPU of a whole call, and of Powertools with an empty route plus a bare call to DynamoDB; ms."""
    handler, empty_route = _handler("insert_one"), _handler("empty_route")
    client = _plain_client()

    def ours() -> float:
        events = [_insert_one_event() for _ in range(_WARM_CALLS)]
        return _cpu(lambda: [_call(handler, event) for event in events]) / _WARM_CALLS * 1000

    def reference() -> float:
        calls = [
            (_insert_one_event(), _transaction(_put_row(f"{uuid.uuid4()}#0"), _put_record(_new_customer())))
            for _ in range(_WARM_CALLS)
        ]

        def call_both() -> None:
            for event, transaction in calls:
                _call(empty_route, event)
                client.transact_write_items(**transaction)

        return _cpu(call_both) / _WARM_CALLS * 1000

    return _interleaved(ours, reference)


def peer_insert_one() -> dict[str, list[tuple[float, float]]]:
    """Wall time and CPU of a whole call, and of the peer's; ms."""
    handlers = _handler("insert_one"), _handler("peer")

    def side(handler: Handler) -> tuple[float, float]:
        events = [_insert_one_event() for _ in range(_WARM_CALLS)]
        wall, cpu = time.perf_counter(), time.process_time()
        for event in events:
            _call(handler, event)
        return (
            (time.perf_counter() - wall) / _WARM_CALLS * 1000,
            (time.process_time() - cpu) / _WARM_CALLS * 1000,
        )

    rounds = _interleaved(lambda: side(handlers[0]), lambda: side(handlers[1]))
    return {
        measure: [(ours[index], peer[index]) for ours, peer in rounds]
        for index, measure in enumerate(("wall", "cpu"))
    }


def peer_insert_many() -> list[tuple[float, float]]:
    """Wall time of one call with 1,000 buyers, and of the peer's; ms."""
    ours, peer = _handler("insert_many"), _handler("peer")

    def wall(handler: Handler) -> float:
        event = _insert_many_event(_BULK)
        return _wall(lambda: _call(handler, event)) * 1000

    return _interleaved(lambda: wall(ours), lambda: wall(peer))


def bulk_vs_batch_writer() -> list[tuple[float, float]]:
    """Entries/s of one call with 1,000 customers, and of boto3's batch_writer, unconditional."""
    return _beside_batch_writer(_BULK, _BULK)


def bulk_entries() -> list[tuple[float, float]]:
    """Entries/s of one call with 10,000 entries of 300 customers, and of batch_writer, an item for each."""
    return _beside_batch_writer(_ENTRIES, _CUSTOMERS, rounds=5)


def _beside_batch_writer(entries: int, customers: int, *, rounds: int = _ROUNDS) -> list[tuple[float, float]]:
    import boto3  # noqa: PLC0415

    table = boto3.resource("dynamodb").Table(os.environ["METERING_TABLE_NAME"])

    def batch_writer() -> float:
        buyers = [_new_customer() for _ in range(customers)]
        now = time.time_ns() // 1_000_000
        records = [_record(buyers[n % customers], now + n // customers) for n in range(entries)]

        def write() -> None:
            with table.batch_writer() as batch:
                for record in records:
                    batch.put_item(Item=record)

        return entries / _wall(write)

    return _interleaved(lambda: _bulk_rate(entries, customers), batch_writer, rounds)


def bulk_with_ids() -> list[tuple[float, float]]:
    """Entries/s of one call with ids, and of 32 threads that write each record with its id's row."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    client = boto3.client("dynamodb", config=Config(max_pool_connections=_THREADS))

    def threads() -> float:
        calls = [_transaction(_put_row(uuid.uuid4().hex), _put_record(_new_customer())) for _ in range(_BULK)]

        def write() -> None:
            with ThreadPoolExecutor(_THREADS) as pool:
                list(pool.map(lambda call: client.transact_write_items(**call), calls))

        return _BULK / _wall(write)

    return _interleaved(lambda: _bulk_rate(_BULK, _BULK, with_ids=True), threads)


def bulk_growth() -> list[tuple[float, float]]:
    """CPU of a record, ms: of 10,000 customers in one call, and of 1,000."""
    handler = _handler("insert_many")

    def cpu(count: int) -> float:
        event = _insert_many_event(count)
        return _cpu(lambda: _call(handler, event)) / count * 1000

    return _interleaved(lambda: cpu(_ENTRIES), lambda: cpu(_BULK), rounds=5)


def list_page() -> list[tuple[float, float]]:
    """CPU of a record on a page of 1,000, ms: of a whole call, and of the bare query."""
    return _beside_query(_PAGE, {"limit": str(_PAGE)}, Limit=_PAGE)


def list_totals() -> list[tuple[float, float]]:
    """CPU of a record in totals by dimension, ms: of a whole call, and of the bare queries."""
    return _beside_query(_TOTALS, {"group_by": "dimension", "from": "2000-01-01", "to": str(2**53 - 1)})


def _beside_query(records: int, query: dict[str, str], **page: int) -> list[tuple[float, float]]:
    handler = _handler("list")
    customer = _new_customer_with(records)
    client = _plain_client()
    bare: dict[str, Any] = {
        "TableName": os.environ["METERING_TABLE_NAME"],
        "KeyConditionExpression": "customerIdentifier = :customer",
        "ExpressionAttributeValues": {":customer": {"S": customer}},
        "ConsistentRead": True,
        **page,
    }
    event = _list_event(customer, **query)
    listed = json.loads(_call(handler, event)["body"])
    if listed.get("record_count", len(listed.get("records", ()))) != records:
        raise RuntimeError("the list does not cover all records")

    def read_bare() -> None:
        answer = client.query(**bare)
        while not page and (last := answer.get("LastEvaluatedKey")):
            answer = client.query(**bare, ExclusiveStartKey=last)

    return _interleaved(
        lambda: _cpu(lambda: _call(handler, event)) / records * 1000,
        lambda: _cpu(read_bare) / records * 1000,
    )


def list_depth() -> list[tuple[float, float]]:
    """Wall time of the 100th page of 100 records and of the first, ms."""
    handler = _handler("list")
    customer = _new_customer_with(100 * _DEEP_PAGE)

    def page(token: str | None) -> dict[str, Any]:
        return _list_event(customer, limit=str(_DEEP_PAGE), **({"next_token": token} if token else {}))

    token = None
    for _ in range(99):
        token = json.loads(_call(handler, page(token))["body"])["next_token"]
    last, first = page(token), page(None)
    return _interleaved(
        lambda: _wall(lambda: [_call(handler, last) for _ in range(20)]) / 20 * 1000,
        lambda: _wall(lambda: [_call(handler, first) for _ in range(20)]) / 20 * 1000,
    )


def limit_entries() -> dict[str, float]:
    """Insert 10,000 entries of 300 customers in one call; return the seconds."""
    handler = _handler("insert_many")
    event = _insert_many_event(_ENTRIES, _CUSTOMERS)
    return {"seconds": _wall(lambda: _call(handler, event))}


def limit_goodput(requests: int, entries: int) -> dict[str, float]:
    """Send requests of one entry for each customer at once; repeat them until all entries are stored."""
    from metering_handlers import dynamodb  # noqa: PLC0415
    from metering_handlers.inserting.canonical_form import CanonicalEntry  # noqa: PLC0415
    from metering_handlers.inserting.writer import (  # noqa: PLC0415
        WRITE_PARALLELISM,
        IncompleteWriteError,
        InsertRequest,
        Writer,
    )

    def send() -> dict[str, float]:
        writer = Writer(
            client=dynamodb.connect(max_connections=WRITE_PARALLELISM),
            metering_table=os.environ["METERING_TABLE_NAME"],
            idempotency_table=os.environ["IDEMPOTENCY_TABLE_NAME"],
            idempotency_hours=24,
            transaction_id_days=90,
        )
        usage = {used["dimension_name"]: used["dimension_value"] for used in _USAGE}
        canonical = [
            CanonicalEntry(customer, None, usage, sent=1)
            for customer in sorted(_new_customer() for _ in range(entries))
        ]
        key = str(uuid.uuid4())
        tries = retries = 0
        started.wait()
        while True:
            tries += 1
            deadline = time.monotonic() + _FUNCTION_MS / 1000
            request = InsertRequest(
                entries=canonical,
                key=key,
                request_id=str(uuid.uuid4()),
                time_ms=time.time_ns() // 1_000_000,
                remaining_ms=lambda end=deadline: int((end - time.monotonic()) * 1000),  # type: ignore[misc]
            )
            try:
                written = writer.write(request)
            except IncompleteWriteError as error:
                retries += error.written.retries
                time.sleep(_RETRY_AFTER_SECONDS)
            else:
                seconds = time.monotonic() - first
                return {"seconds": seconds, "tries": tries, "retries": retries + written.retries}

    started = threading.Barrier(requests + 1)
    with ThreadPoolExecutor(requests) as pool:
        pending = [pool.submit(send) for _ in range(requests)]
        started.wait()
        first = time.monotonic()
        outcomes = [future.result() for future in pending]
    slowest = max(outcome["seconds"] for outcome in outcomes)
    return {
        "records_per_second": requests * entries / slowest,
        "seconds": slowest,
        "fastest_seconds": min(outcome["seconds"] for outcome in outcomes),
        "complete_at_first": sum(outcome["tries"] == 1 for outcome in outcomes),
        "tries": max(outcome["tries"] for outcome in outcomes),
        "retried_transactions": sum(outcome["retries"] for outcome in outcomes),
    }


class _Context:
    function_name = "benchmark"
    memory_limit_in_mb = 1024
    invoked_function_arn = "arn:aws:lambda:us-east-1:123456789012:function:benchmark"
    aws_request_id = "3f1f0a5e-2a4b-4f1c-9d5e-5d8f2f0f7c11"

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        return _FUNCTION_MS


def _plain_client() -> DynamoDBClient:
    """Create the default client of boto3."""
    import boto3  # noqa: PLC0415

    return boto3.client("dynamodb")


def _handler(function: str) -> Handler:
    handler: Handler = importlib.import_module(MODULES[function]).lambda_handler
    return handler


def _call(handler: Handler, event: dict[str, Any]) -> dict[str, Any]:
    answer = handler(event, _Context())
    if answer["statusCode"] != 200:
        raise RuntimeError(answer["body"])
    return answer


def _bulk_rate(entries: int, customers: int, *, with_ids: bool = False) -> float:
    handler = _handler("insert_many")
    event = _insert_many_event(entries, customers, with_ids=with_ids)
    return entries / _wall(lambda: _call(handler, event))


def _new_customer_with(records: int) -> str:
    """Store records of a new customer; return the customer."""
    import boto3  # noqa: PLC0415

    customer = _new_customer()
    now = time.time_ns() // 1_000_000
    with boto3.resource("dynamodb").Table(os.environ["METERING_TABLE_NAME"]).batch_writer() as batch:
        for number in range(records):
            batch.put_item(Item=_record(customer, now + number))
    return customer


def _new_customer() -> str:
    return uuid.uuid4().hex[:11]


def _record(customer: str, create_timestamp: int) -> dict[str, Any]:
    return {
        "customerIdentifier": customer,
        "create_timestamp": create_timestamp,
        "metering_pending": "true",
        "dimension_usage": [
            {"dimension": used["dimension_name"], "value": used["dimension_value"]} for used in _USAGE
        ],
        "request_id": str(uuid.uuid4()),
    }


def _put_record(customer: str) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeSerializer  # noqa: PLC0415

    serialize = TypeSerializer().serialize
    record = _record(customer, time.time_ns() // 1_000_000)
    return {
        "TableName": os.environ["METERING_TABLE_NAME"],
        "Item": {name: serialize(value) for name, value in record.items()},
        "ConditionExpression": "attribute_not_exists(customerIdentifier)",
    }


def _put_row(row_id: str) -> dict[str, Any]:
    """Put a row as large as one of a single insert."""
    return {
        "TableName": os.environ["IDEMPOTENCY_TABLE_NAME"],
        "Item": {
            "id": {"S": row_id},
            "expires_at": {"N": "2000000000"},
            "delete_after": {"N": "2000086400"},
            "digest": {"S": uuid.uuid4().hex * 2},
            "division": {"N": "1"},
            "request_time": {"N": "1795446956551"},
            "result": {"B": bytes(5)},
            "request_id": {"S": str(uuid.uuid4())},
        },
        "ConditionExpression": "attribute_not_exists(id) OR expires_at < :before",
        "ExpressionAttributeValues": {":before": {"N": "1795446956"}},
        "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
    }


def _transaction(*puts: dict[str, Any]) -> dict[str, Any]:
    return {"TransactItems": [{"Put": put} for put in puts], "ClientRequestToken": str(uuid.uuid4())}


def _event(
    method: str,
    resource: str,
    customer: str | None = None,
    *,
    body: object = None,
    query: dict[str, str] | None = None,
) -> dict[str, Any]:
    headers = {"Content-Type": "application/json", "Host": "api", "User-Agent": "benchmark"}
    path = resource.replace("{customerIdentifier+}", customer or "")
    return {
        "resource": resource,
        "path": path,
        "httpMethod": method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": query,
        "multiValueQueryStringParameters": {name: [value] for name, value in query.items()}
        if query
        else None,
        "pathParameters": {"customerIdentifier": customer} if customer else None,
        "stageVariables": None,
        "requestContext": {
            "requestId": str(uuid.uuid4()),
            "extendedRequestId": uuid.uuid4().hex[:16],
            "requestTimeEpoch": time.time_ns() // 1_000_000,
            "stage": "prod",
            "path": f"/prod{path}",
            "httpMethod": method,
        },
        "body": None if body is None else json.dumps(body),
        "isBase64Encoded": False,
    }


def _insert_one_event() -> dict[str, Any]:
    return _event("POST", INSERT_ONE, _new_customer(), body={"metered_dimensions": _USAGE})


def _insert_many_event(
    entries: int, customers: int | None = None, *, with_ids: bool = False
) -> dict[str, Any]:
    """Create a request with entries of so many customers in turn; by default each of its own."""
    identifiers = [_new_customer() for _ in range(customers or entries)]
    buyers: list[dict[str, object]] = [
        {"customerIdentifier": identifiers[number % len(identifiers)], "metered_dimensions": _USAGE}
        for number in range(entries)
    ]
    if with_ids:
        for buyer in buyers:
            buyer["transaction_id"] = str(uuid.uuid4())
    return _event("POST", INSERT_MANY, body={"buyers": buyers})


def _list_event(customer: str, **query: str) -> dict[str, Any]:
    return _event("GET", LIST, customer, query=query)


def _interleaved(
    ours: Callable[[], T], reference: Callable[[], T], rounds: int = _ROUNDS
) -> list[tuple[T, T]]:
    """Measure both sides alternately, after one run that does not count."""
    ours()
    reference()
    return [(ours(), reference()) for _ in range(rounds)]


def _cpu(work: Callable[[], object]) -> float:
    started = time.process_time()
    work()
    return time.process_time() - started


def _wall(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def _peak_mb() -> float:
    if sys.platform == "linux":
        # ru_maxrss would count what the parent process had when it started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def _main(name: str, *arguments: str) -> None:
    result_output = os.dup(1)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    parsed = [int(argument) if argument.isdigit() else argument for argument in arguments]
    result = globals()[name](*parsed)
    os.write(result_output, json.dumps(result).encode())


if __name__ == "__main__":
    _main(*sys.argv[1:])
