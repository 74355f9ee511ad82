"""What may happen to a request to DynamoDB."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from enum import Enum
from typing import TypeVar

from botocore.awsrequest import AWSPreparedRequest, AWSResponse

from tests.unit.faults.engine import is_read

T = TypeVar("T")


class Fault(Enum):
    """What happens to one request to DynamoDB; the value names it in the counts."""

    NONE = "none"
    REQUEST_LOST = "request lost before it arrived (connect time-out)"
    CONNECTION_REFUSED = "request lost before it arrived (no connection)"
    ANSWER_LOST = "answer lost after the commit (read time-out)"
    CONNECTION_CLOSED = "answer lost after the commit (connection closed)"
    ANSWER_500 = "answered 500 after the commit"
    ANSWER_503 = "answered 503 without an error code after the commit"
    LATE = "timed out, arrived later"
    SLOW = "slow, others went ahead of the answer"
    THROTTLED = "throttled (ThrottlingException)"
    THROUGHPUT_EXCEEDED = "throttled (ProvisionedThroughputExceededException)"
    REQUEST_LIMIT = "throttled (RequestLimitExceeded)"
    SERVER_ERROR = "refused with 500 (InternalServerError)"
    TRANSACTION_THROTTLED = "transaction cancelled (ThrottlingError)"
    CONFLICT = "transaction cancelled (TransactionConflict)"
    IN_PROGRESS = "transaction refused (TransactionInProgressException)"
    SOME_REASONS = "cancelled, naming only some of the failed conditions"
    UNPROCESSED_KEYS = "BatchGetItem answered for a part of its keys"
    KILLED_BEFORE = "process killed, request not sent"
    KILLED_AFTER = "process killed after the commit"
    KILLED_LATE = "process killed, request arrived later"

    def __repr__(self) -> str:
        return f"Fault.{self.name}"


REFUSALS = {
    Fault.THROTTLED: (400, "ThrottlingException"),
    Fault.THROUGHPUT_EXCEEDED: (400, "ProvisionedThroughputExceededException"),
    Fault.REQUEST_LIMIT: (400, "RequestLimitExceeded"),
    Fault.SERVER_ERROR: (500, "InternalServerError"),
    Fault.IN_PROGRESS: (400, "TransactionInProgressException"),
}
CANCELLATIONS = {Fault.TRANSACTION_THROTTLED: "ThrottlingError", Fault.CONFLICT: "TransactionConflict"}


class ProcessKilled(BaseException):
    """The function's process was killed."""


def possible(fault: Fault, request: AWSPreparedRequest) -> Fault:
    """Return the fault, or none if it does not happen to such a request."""
    for_writes = {*CANCELLATIONS, Fault.IN_PROGRESS, Fault.SOME_REASONS}
    for_reads = {Fault.UNPROCESSED_KEYS}
    return Fault.NONE if fault in (for_writes if is_read(request) else for_reads) else fault


def named_in_part(answer: AWSResponse) -> str | None:
    """Leave out a part of the failed conditions of a cancellation; return None if there are not several."""
    error = json.loads(answer.content)
    reasons = error.get("CancellationReasons", [])
    failed = [index for index, reason in enumerate(reasons) if reason["Code"] == "ConditionalCheckFailed"]
    if len(failed) < 2:
        return None
    for index in part_of(failed, at_least=1):
        reasons[index] = {"Code": "None"}
    return json.dumps(error)


def part_of(items: Sequence[T], *, at_least: int) -> list[T]:
    """Choose some, but not all; Hypothesis seeds the choice."""
    return random.sample(items, random.randrange(at_least, len(items)))  # noqa: S311
