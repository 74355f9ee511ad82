"""What a function takes in a process of its own, in ms and peak memory, as JSON.

``python -m tools.benchmarks.alone cold_start <function>``, or ``… bulk <entries> <customers>``.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tools.benchmarks import events

Handler = Callable[[dict[str, Any], Any], dict[str, Any]]

MODULES = {
    "insert_one": "metering_handlers.insert_metering_record",
    "insert_many": "metering_handlers.insert_metering_records",
    "list": "metering_handlers.list_metering_records",
    "peer": "tools.benchmarks.peer",
    "empty_route": "tools.benchmarks.empty_route",
}


def handler_of(function: str) -> Handler:
    """Import a function's module, which creates its client."""
    handler: Handler = importlib.import_module(MODULES[function]).lambda_handler
    return handler


def call(handler: Handler, event: events.Event) -> dict[str, Any]:
    """Call a function, which has to succeed."""
    answer = handler(event, events.Context())
    if answer["statusCode"] != 200:
        raise RuntimeError(answer["body"])
    return answer


def _cold_start(function: str) -> float:
    """Return the ms until the handler is ready; ``reference`` is boto3 and its client."""
    started = time.perf_counter()
    if function == "reference":
        import boto3  # noqa: PLC0415 - this is what is measured

        boto3.client("dynamodb")
    else:
        handler_of(function)
    return (time.perf_counter() - started) * 1000


def _bulk(entries: str, customers: str) -> float:
    """Insert entries of so many customers in one call, after a cold start; return the call's ms."""
    handler = handler_of("insert_many")
    event = events.insert_many(int(entries), int(customers))
    started = time.perf_counter()
    call(handler, event)
    return (time.perf_counter() - started) * 1000


def _peak_mb() -> float:
    if sys.platform == "linux":
        # ru_maxrss would count what the parent process had when it started this one.
        status = Path("/proc/self/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2


def print_result(work: Callable[[], object]) -> None:
    """Print what the work returns; what it prints itself goes to the null device, at the same cost."""
    output = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.write(output, json.dumps(work()).encode())


def _main(what: str, *arguments: str) -> None:
    measures: dict[str, Callable[..., float]] = {"cold_start": _cold_start, "bulk": _bulk}
    print_result(lambda: {"ms": measures[what](*arguments), "memory_mb": _peak_mb()})


if __name__ == "__main__":
    _main(*sys.argv[1:])
