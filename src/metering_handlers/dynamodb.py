"""DynamoDB's client as the functions use it: its time limits, and which of its errors pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

READ_TIMEOUT_MS = 3_000
CONNECT_TIMEOUT_MS = 1_000
ANSWER_RESERVE_MS = 1_000
"""Kept back of the function's time, to render the answer and log it."""
ATTEMPT_BUDGET_MS = CONNECT_TIMEOUT_MS + READ_TIMEOUT_MS + ANSWER_RESERVE_MS
"""What a call to DynamoDB may need at worst: with less time left, none is started."""

THROTTLING_ERRORS = frozenset(
    {
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "ThrottlingException",
    }
)
RETRYABLE_ERRORS = THROTTLING_ERRORS | {
    "InternalServerError",
    "ServiceUnavailable",
    "TransactionInProgressException",
}


def connect(*, max_attempts: int, max_connections: int) -> DynamoDBClient:
    """Make a client from the function's environment; each try of a call ends within ``ATTEMPT_BUDGET_MS``.

    Parameters
    ----------
    max_attempts : int
        How often the client itself tries a call.
    max_connections : int
        Connections kept open: as many as calls are under way at a time.
    """
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_MS / 1000,
        read_timeout=READ_TIMEOUT_MS / 1000,
        retries={"mode": "standard", "total_max_attempts": max_attempts},
        max_pool_connections=max_connections,
        # What is sent is built from validated models; checking it again is a tenth of an insert's CPU.
        parameter_validation=False,
    )
    return boto3.client("dynamodb", config=config)
