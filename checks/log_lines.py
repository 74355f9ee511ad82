"""The line that a function logged about a request."""

import json
import time
from collections.abc import Collection

from mypy_boto3_logs import CloudWatchLogsClient

LOG_SECONDS = 30
"""How long to wait for a line; it is usually there in seconds."""
_CLOCK_SKEW_MS = 300_000


def find_log_line(client: CloudWatchLogsClient, groups: Collection[str], request_id: str) -> str | None:
    """Wait for a line with that correlation id, logged in the last minutes; return None if none comes."""
    search = client.get_paginator("filter_log_events")
    since = time.time_ns() // 1_000_000 - _CLOCK_SKEW_MS
    deadline = time.monotonic() + LOG_SECONDS
    while True:
        for group in groups:
            # A page may be empty though others follow it (CloudWatch Logs API reference, FilterLogEvents).
            for page in search.paginate(logGroupName=group, filterPattern=f'"{request_id}"', startTime=since):
                for event in page["events"]:
                    # API Gateway's access log has the id too, and the platform's lines are no JSON.
                    if _correlation_id(event["message"]) == request_id:
                        return event["message"].strip()
        if time.monotonic() > deadline:
            return None
        time.sleep(1)


def _correlation_id(message: str) -> object:
    try:
        line: object = json.loads(message)
    except ValueError:
        return None
    return line.get("correlation_id") if isinstance(line, dict) else None
