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
}
INSERT_ONE = "/insertMeteringRecord/{customerIdentifier+}"
INSERT_MANY = "/insertMeteringRecords"
LIST = "/listMeteringRecords/{customerIdentifier+}"
_ROUNDS = 15
_WARM_CALLS = 60
_BULK = 1_000
_PAGE = 1_000
_DEEP_PAGE = 100
_TOTALS = 5_000
_FUNCTION_SECONDS = 27
_RETRY_AFTER_SECONDS = 5


def cold_start(function: str) -> dict[str, float]:
    """Import a function's module, which creates its client; for ``reference``, do so with boto3."""
    started = time.perf_counter()
    if function == "reference":
        import boto3  # noqa: PLC0415 - this is what is measured

        boto3.client("dynamodb")
    else:
        _handler(function)
    return {"ms": (time.perf_counter() - started) * 1000, "memory_mb": _peak_mb()}


def bulk_memory(buyers: int) -> dict[str, float]:
    """Insert the usage of many buyers in one call; return the peak memory."""
    _insert(_handler("insert_many"), _buyers(buyers))
    return {"memory_mb": _peak_mb()}


def warm_insert_one() -> list[tuple[float, float]]:
    """CPU of a whole call, and of the bare call to DynamoDB of the same items; ms."""
    handler = _handler("insert_one")
    client = _plain_client()

    def ours() -> float:
        events = [_insert_one_event() for _ in range(_WARM_CALLS)]
        return _cpu(lambda: [_call(handler, event) for event in events]) / _WARM_CALLS * 1000

    def bare() -> float:
        calls = [_transaction([_item(_new_customer())]) for _ in range(_WARM_CALLS)]
        return _cpu(lambda: [client.transact_write_items(**call) for call in calls]) / _WARM_CALLS * 1000

    return _interleaved(ours, bare)


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


def bulk_beside_batch_writer() -> list[tuple[float, float]]:
    """Records/s of one call with 1,000 buyers, and of boto3's batch_writer, unconditional."""
    import boto3  # noqa: PLC0415

    handler = _handler("insert_many")
    table = boto3.resource("dynamodb").Table(os.environ["METERING_TABLE_NAME"])

    def batch_writer() -> float:
        records = [_record(_new_customer()) for _ in range(_BULK)]

        def write() -> None:
            with table.batch_writer() as batch:
                for record in records:
                    batch.put_item(Item=record)

        return _BULK / _wall(write)

    return _interleaved(lambda: _bulk_rate(handler), batch_writer)


def bulk_beside_ceiling() -> list[tuple[float, float]]:
    """Records/s of one call with 1,000 buyers, and the most that boto3 can do with ready-made items."""
    from metering_handlers.record_writer import WRITE_PARALLELISM  # noqa: PLC0415

    handler = _handler("insert_many")
    client = _fastest_client(WRITE_PARALLELISM)

    def bare() -> float:
        calls = [
            {**_transaction([_item(_new_customer()) for _ in range(100)], row=False)}
            for _ in range(_BULK // 100)
        ]

        def write() -> None:
            with ThreadPoolExecutor(WRITE_PARALLELISM) as pool:
                list(pool.map(lambda call: client.transact_write_items(**call), calls))

        return _BULK / _wall(write)

    return _interleaved(lambda: _bulk_rate(handler), bare)


def bulk_growth() -> list[tuple[float, float]]:
    """CPU of a record, ms: of 10,000 in one call, and of 1,000."""
    handler = _handler("insert_many")

    def cpu(count: int) -> float:
        event = _insert_many_event(count)
        return _cpu(lambda: _call(handler, event)) / count * 1000

    return _interleaved(lambda: cpu(10_000), lambda: cpu(1_000), rounds=5)


def list_page() -> list[tuple[float, float]]:
    """CPU of a record on a page of 1,000, ms: of a whole call, and of the bare query."""
    handler = _handler("list")
    customer = _new_customer_with(_PAGE)
    client = _plain_client()
    query: dict[str, Any] = {
        "TableName": os.environ["METERING_TABLE_NAME"],
        "KeyConditionExpression": "customerIdentifier = :customer",
        "ExpressionAttributeValues": {":customer": {"S": customer}},
        "ConsistentRead": True,
        "Limit": _PAGE,
    }
    event = _list_event(customer, limit=str(_PAGE))
    return _interleaved(
        lambda: _cpu(lambda: _call(handler, event)) / _PAGE * 1000,
        lambda: _cpu(lambda: client.query(**query)) / _PAGE * 1000,
    )


def list_totals() -> list[tuple[float, float]]:
    """CPU of a record in totals by dimension, ms: of a whole call, and of the bare queries."""
    handler = _handler("list")
    customer = _new_customer_with(_TOTALS)
    client = _plain_client()
    pages = client.get_paginator("query")
    query: dict[str, Any] = {
        "TableName": os.environ["METERING_TABLE_NAME"],
        "KeyConditionExpression": "customerIdentifier = :customer",
        "ExpressionAttributeValues": {":customer": {"S": customer}},
        "ConsistentRead": True,
    }
    event = _list_event(customer, **{"group_by": "dimension", "from": "0", "to": str(2**53 - 1)})
    if json.loads(_call(handler, event)["body"])["records"] != _TOTALS:
        raise RuntimeError("the totals do not cover all records")
    return _interleaved(
        lambda: _cpu(lambda: _call(handler, event)) / _TOTALS * 1000,
        lambda: _cpu(lambda: list(pages.paginate(**query))) / _TOTALS * 1000,
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


def at_limit(
    requests: int, records: int, customers: str = "many", dimensions: str = "short"
) -> dict[str, float]:
    """Send requests at once to partitions at their limit; repeat them until all records are stored."""
    from pydantic import TypeAdapter  # noqa: PLC0415

    from metering_handlers import dynamodb  # noqa: PLC0415
    from metering_handlers.models import BuyerUsage  # noqa: PLC0415
    from metering_handlers.record_writer import (  # noqa: PLC0415
        WRITE_PARALLELISM,
        IncompleteWriteError,
        RecordWriter,
    )

    entry = TypeAdapter(BuyerUsage)
    usage = _usage() if dimensions == "short" else _long_usage()

    def send() -> dict[str, float]:
        writer = RecordWriter(
            client=dynamodb.connect(max_connections=WRITE_PARALLELISM),
            metering_table=os.environ["METERING_TABLE_NAME"],
            idempotency_table=os.environ["IDEMPOTENCY_TABLE_NAME"],
            remembered_hours=24,
        )
        only_customer = _new_customer()
        usages = [
            entry.validate_python(
                {"customerIdentifier": _new_customer() if customers == "many" else only_customer, **usage}
            )
            for _ in range(records)
        ]
        key = str(uuid.uuid4())
        tries = retries = 0
        started.wait()
        while True:
            tries += 1
            deadline = time.monotonic() + _FUNCTION_SECONDS
            try:
                written = writer.write(
                    usages,
                    key=key,
                    request_id=str(uuid.uuid4()),
                    request_time=time.time_ns() // 1_000_000,
                    remaining_ms=lambda end=deadline: int((end - time.monotonic()) * 1000),  # type: ignore[misc]
                )
            except IncompleteWriteError as error:
                retries += error.written.retries
                time.sleep(_RETRY_AFTER_SECONDS)
            else:
                return {
                    "seconds": time.monotonic() - first,
                    "tries": tries,
                    "retries": retries + written.retries,
                }

    started = threading.Barrier(requests + 1)
    with ThreadPoolExecutor(requests) as pool:
        pending = [pool.submit(send) for _ in range(requests)]
        first = time.monotonic()
        started.wait()
        first = time.monotonic()
        outcomes = [future.result() for future in pending]
    slowest = max(outcome["seconds"] for outcome in outcomes)
    return {
        "records_per_second": requests * records / slowest,
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
        return 27_000


def _plain_client() -> DynamoDBClient:
    """Create the default client of boto3."""
    import boto3  # noqa: PLC0415

    return boto3.client("dynamodb")


def _fastest_client(max_connections: int) -> DynamoDBClient:
    """Create the client with the least work for each call."""
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    config = Config(parameter_validation=False, user_agent="benchmark", max_pool_connections=max_connections)
    return boto3.client("dynamodb", config=config)


def _handler(function: str) -> Handler:
    handler: Handler = importlib.import_module(MODULES[function]).lambda_handler
    return handler


def _call(handler: Handler, event: dict[str, Any]) -> dict[str, Any]:
    answer = handler(event, _Context())
    if answer["statusCode"] != 200:
        raise RuntimeError(answer["body"])
    return answer


def _insert(handler: Handler, body: object) -> None:
    _call(handler, _event("POST", INSERT_MANY, body=body))


def _bulk_rate(handler: Handler) -> float:
    event = _insert_many_event(_BULK)
    return _BULK / _wall(lambda: _call(handler, event))


def _new_customer_with(records: int) -> str:
    """Insert records of a new customer with the bulk insert; return the customer."""
    customer = _new_customer()
    _insert(_handler("insert_many"), {"buyers": [{"customerIdentifier": customer, **_usage()}] * records})
    return customer


def _new_customer() -> str:
    return uuid.uuid4().hex[:11]


def _usage() -> dict[str, object]:
    return {
        "metered_dimensions": [
            {"dimension_name": "metered_1_id", "dimension_value": 10},
            {"dimension_name": "metered_3_id", "dimension_value": 20},
        ]
    }


def _long_usage() -> dict[str, object]:
    """Return the largest usage that is valid: 25 names of 255 characters of four bytes."""
    return {
        "metered_dimensions": [
            {"dimension_name": chr(0x1F600 + number) * 255, "dimension_value": 2_147_483_647}
            for number in range(25)
        ]
    }


def _buyers(count: int) -> dict[str, object]:
    return {"buyers": [{"customerIdentifier": _new_customer(), **_usage()} for _ in range(count)]}


def _record(customer: str) -> dict[str, Any]:
    return {
        "customerIdentifier": customer,
        "create_timestamp": time.time_ns() // 1_000_000,
        "metering_pending": "true",
        "dimension_usage": [
            {"dimension": "metered_1_id", "value": 10},
            {"dimension": "metered_3_id", "value": 20},
        ],
        "request_id": str(uuid.uuid4()),
    }


def _item(customer: str) -> dict[str, Any]:
    from boto3.dynamodb.types import TypeSerializer  # noqa: PLC0415

    serialize = TypeSerializer().serialize
    return {name: serialize(value) for name, value in _record(customer).items()}


def _transaction(items: list[dict[str, Any]], *, row: bool = True) -> dict[str, Any]:
    puts: list[dict[str, Any]] = [
        {
            "TableName": os.environ["METERING_TABLE_NAME"],
            "Item": item,
            "ConditionExpression": "attribute_not_exists(customerIdentifier)",
        }
        for item in items
    ]
    if row:
        puts.insert(
            0,
            {
                "TableName": os.environ["IDEMPOTENCY_TABLE_NAME"],
                "Item": {
                    "id": {"S": f"{uuid.uuid4()}#0"},
                    "expiration": {"N": "2000000000"},
                    "payload_hash": {"S": uuid.uuid4().hex * 2},
                    "request_time": {"N": "1795446956551"},
                    "offsets": {"S": "0"},
                    "request_id": {"S": str(uuid.uuid4())},
                },
                "ConditionExpression": "attribute_not_exists(id) OR expiration <= :now",
                "ExpressionAttributeValues": {":now": {"N": "1795446956"}},
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
            },
        )
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
    return _event("POST", INSERT_ONE, _new_customer(), body=_usage())


def _insert_many_event(count: int) -> dict[str, Any]:
    return _event("POST", INSERT_MANY, body=_buyers(count))


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
