"""What may happen to a request to DynamoDB, and how it comes about."""

from enum import Enum

from botocore.exceptions import (
    BotoCoreError,
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)

from metering_handlers.dynamodb import CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS


class Named(Enum):
    """Has a repr that can be copied into a schedule."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self.name}"


class Fault(Named):
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


DEADLY = (Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.KILLED_LATE)
CANCELLATIONS = {Fault.TRANSACTION_THROTTLED: "ThrottlingError", Fault.CONFLICT: "TransactionConflict"}
OF_TRANSACTIONS = (*CANCELLATIONS, Fault.IN_PROGRESS, Fault.SOME_REASONS)
REFUSALS = {
    Fault.THROTTLED: (400, "ThrottlingException"),
    Fault.THROUGHPUT_EXCEEDED: (400, "ProvisionedThroughputExceededException"),
    Fault.REQUEST_LIMIT: (400, "RequestLimitExceeded"),
    Fault.SERVER_ERROR: (500, "InternalServerError"),
    Fault.IN_PROGRESS: (400, "TransactionInProgressException"),
}
ERRORS = {**REFUSALS, Fault.ANSWER_500: (500, "InternalServerError"), Fault.ANSWER_503: (503, "")}
"""Status and code that take the place of DynamoDB's answer."""
EXCEPTIONS: dict[Fault, type[BotoCoreError]] = {
    Fault.REQUEST_LOST: ConnectTimeoutError,
    Fault.CONNECTION_REFUSED: EndpointConnectionError,
    Fault.ANSWER_LOST: ReadTimeoutError,
    Fault.CONNECTION_CLOSED: ConnectionClosedError,
    Fault.LATE: ReadTimeoutError,
}
ARRIVE_LATER = (Fault.LATE, Fault.KILLED_LATE)
NEVER_ARRIVE = (Fault.REQUEST_LOST, Fault.CONNECTION_REFUSED, Fault.KILLED_BEFORE, *REFUSALS)
TAKES_MS = {
    Fault.REQUEST_LOST: CONNECT_TIMEOUT_MS,
    Fault.ANSWER_LOST: READ_TIMEOUT_MS,
    Fault.LATE: READ_TIMEOUT_MS,
    Fault.SLOW: 2_500,
}
"""All others take a round trip of 5 ms."""
