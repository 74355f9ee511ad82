"""Inserts at the write limits of DynamoDB: ``python -m tools.benchmarks.limit <requests> <entries>``.

Sends requests with one entry for each customer at once, repeats them until all is stored, and prints JSON.
"""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from metering_handlers import dynamodb
from metering_handlers.inserting import writer
from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.request_state import InsertRequest, Tables
from tools.benchmarks import events
from tools.benchmarks.alone import print_result

_RETRY_AFTER_SECONDS = 5


def goodput(requests: int, entries: int) -> dict[str, float]:
    """Return the records/s until all requests are done, and how it went."""
    started = threading.Barrier(requests + 1)

    def send() -> dict[str, float]:
        tables = _tables()
        usage = {used["dimension_name"]: used["dimension_value"] for used in events.USAGE}
        customers = sorted(events.new_customer() for _ in range(entries))
        canonical = [CanonicalEntry(customer, "", usage, sent=1) for customer in customers]
        key = str(uuid.uuid4())

        def request() -> InsertRequest:
            deadline = time.monotonic() + events.Context.get_remaining_time_in_millis() / 1000
            return InsertRequest(
                entries=canonical,
                key=key,
                request_id=str(uuid.uuid4()),
                time_ms=time.time_ns() // 1_000_000,
                remaining_ms=lambda: int((deadline - time.monotonic()) * 1000),
            )

        tries = retries = 0
        started.wait()
        while True:
            tries += 1
            try:
                written = writer.write(tables, request())
            except writer.IncompleteWriteError as error:
                retries += error.written.retries
                time.sleep(_RETRY_AFTER_SECONDS)
            else:
                seconds = time.monotonic() - first
                return {"seconds": seconds, "tries": tries, "retries": retries + written.retries}

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


def _tables() -> Tables:
    return Tables(
        client=dynamodb.connect(max_connections=writer.WRITE_PARALLELISM),
        metering_table=os.environ["METERING_TABLE_NAME"],
        idempotency_table=os.environ["IDEMPOTENCY_TABLE_NAME"],
        idempotency_hours=24,
        transaction_id_days=90,
    )


if __name__ == "__main__":
    print_result(lambda: goodput(*map(int, sys.argv[1:])))
