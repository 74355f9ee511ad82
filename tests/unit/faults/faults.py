"""Faults between a function and DynamoDB, injected below boto3's client."""

from __future__ import annotations

import json
import random
from enum import Enum
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeVar, cast

from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from moto.core.models import botocore_stubber

from metering_handlers.dynamodb import CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS
from tests.unit.faults.engine import error_response, is_read, keys_of, response_to

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.faults.engine import Engine, Put

    _Listener = Callable[..., AWSResponse | None]

T = TypeVar("T")

_ROUND_TRIP_MS = 5
_SLOW_MS = 2_500


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


_REFUSALS = {
    Fault.THROTTLED: (400, "ThrottlingException"),
    Fault.THROUGHPUT_EXCEEDED: (400, "ProvisionedThroughputExceededException"),
    Fault.REQUEST_LIMIT: (400, "RequestLimitExceeded"),
    Fault.SERVER_ERROR: (500, "InternalServerError"),
    Fault.IN_PROGRESS: (400, "TransactionInProgressException"),
}
_FAILED = "ConditionalCheckFailed"
_CANCELLATIONS = {Fault.TRANSACTION_THROTTLED: "ThrottlingError", Fault.CONFLICT: "TransactionConflict"}


class ProcessKilled(BaseException):
    """The function's process was killed."""


class Caller(Protocol):
    """The caller of DynamoDB, as far as faults affect it."""

    def await_turn(self) -> Fault:
        """Let other clients run first; return the fault to inject now."""

    def spend(self, milliseconds: int) -> None:
        """Advance the caller's clock."""

    def die(self) -> NoReturn:
        """Kill the caller's process."""

    def note_request(self, request: AWSPreparedRequest, fault: Fault) -> None:
        """Record a request and its fault."""

    def note_committed(self, puts: Sequence[Put]) -> None:
        """Record what was committed."""

    def note_answered(self, puts: Sequence[Put]) -> None:
        """Record what was committed, and the caller learns of."""

    def note_in_flight(self, request: AWSPreparedRequest) -> None:
        """Record a request that arrives later."""


class Network:
    """Stands between one boto3 client and the engine, at botocore's ``before-send`` event.

    Parameters
    ----------
    client : DynamoDBClient
        The client whose requests go through here between ``attach`` and ``detach``.
    engine : Engine
        What executes them.
    """

    def __init__(self, client: DynamoDBClient, engine: Engine) -> None:
        self._events = client.meta.events
        self._engine = engine
        self.caller: Caller | None = None

    def attach(self) -> None:
        # botocore asks every listener, and moto's would execute the request a second time.
        self._replace(botocore_stubber, self._send)

    def detach(self) -> None:
        self._replace(self._send, botocore_stubber)

    def _replace(self, listener: _Listener, new_listener: _Listener) -> None:
        # The type stubs do not allow a listener that returns a response.
        self._events.unregister("before-send", cast("Callable[..., None]", listener))
        self._events.register("before-send", cast("Callable[..., None]", new_listener))

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        caller = self.caller
        if caller is None:
            raise RuntimeError("a request outside of a simulation")
        fault = _possible(caller.await_turn(), request)
        if fault is not Fault.SOME_REASONS:
            caller.note_request(request, fault)
        if fault in (Fault.LATE, Fault.KILLED_LATE):
            caller.note_in_flight(request)
        if fault in (Fault.KILLED_BEFORE, Fault.KILLED_LATE):
            caller.die()
        if fault is Fault.REQUEST_LOST:
            caller.spend(CONNECT_TIMEOUT_MS)
            raise ConnectTimeoutError(endpoint_url=request.url)
        if fault is Fault.CONNECTION_REFUSED:
            raise EndpointConnectionError(endpoint_url=request.url)
        if fault is Fault.LATE:
            caller.spend(READ_TIMEOUT_MS)
            raise ReadTimeoutError(endpoint_url=request.url)
        caller.spend(_ROUND_TRIP_MS)
        if refusal := _REFUSALS.get(fault):
            status, code = refusal
            return error_response(request, status, code, "injected")
        if reason := _CANCELLATIONS.get(fault):
            return self._engine.cancel(request, reason)
        if fault is Fault.UNPROCESSED_KEYS:
            keys = keys_of(request)
            return self._engine.read(request, _part_of(keys, at_least=0))
        return self._executed(request, fault, caller)

    def _executed(self, request: AWSPreparedRequest, fault: Fault, caller: Caller) -> AWSResponse:
        execution = self._engine.execute(request)
        if fault is Fault.SOME_REASONS:
            named = _named_in_part(execution.answer)
            caller.note_request(request, Fault.NONE if named is None else fault)
            if named is not None:
                return response_to(request, 400, named)
        if execution.committed:
            caller.note_committed(execution.committed)
        if fault is Fault.KILLED_AFTER:
            caller.die()
        if fault is Fault.ANSWER_LOST:
            caller.spend(READ_TIMEOUT_MS)
            raise ReadTimeoutError(endpoint_url=request.url)
        if fault is Fault.CONNECTION_CLOSED:
            raise ConnectionClosedError(endpoint_url=request.url)
        if fault is Fault.ANSWER_500:
            return error_response(request, 500, "InternalServerError", "injected")
        if fault is Fault.ANSWER_503:
            return response_to(request, 503, "")
        if fault is Fault.SLOW:
            caller.spend(_SLOW_MS)
            caller.await_turn()
        if execution.committed:
            caller.note_answered(execution.committed)
        return execution.answer


def _possible(fault: Fault, request: AWSPreparedRequest) -> Fault:
    """Return the fault, or none if it does not happen to such a request."""
    for_writes = {*_CANCELLATIONS, Fault.IN_PROGRESS, Fault.SOME_REASONS}
    for_reads = {Fault.UNPROCESSED_KEYS}
    return Fault.NONE if fault in (for_writes if is_read(request) else for_reads) else fault


def _named_in_part(answer: AWSResponse) -> str | None:
    """Leave out a part of the failed conditions of a cancellation; return None if there are not several."""
    error = json.loads(answer.content)
    reasons = error.get("CancellationReasons", [])
    failed = [index for index, reason in enumerate(reasons) if reason["Code"] == _FAILED]
    if len(failed) < 2:
        return None
    for index in _part_of(failed, at_least=1):
        reasons[index] = {"Code": "None"}
    return json.dumps(error)


def _part_of(items: Sequence[T], *, at_least: int) -> list[T]:
    """Choose some, but not all; Hypothesis seeds the choice."""
    return random.sample(items, random.randrange(at_least, len(items)))  # noqa: S311
