"""Function invocations that run interleaved, in one thread and in virtual time: the same moves, the same run.

Each invocation runs the real handler until it calls DynamoDB, and waits there for its turn. What goes next,
and what happens to its request, is the test's choice at every step. The threads of an invocation are
greenlets, so only one thing runs at a time.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, TypeVar, cast
from unittest.mock import patch

from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.exceptions import (
    ConnectionClosedError,
    ConnectTimeoutError,
    EndpointConnectionError,
    ReadTimeoutError,
)
from greenlet import getcurrent, greenlet
from moto.core.models import botocore_stubber
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers import insert_metering_record, insert_metering_records
from metering_handlers.dynamodb import CONNECT_TIMEOUT_MS, READ_TIMEOUT_MS
from tests.unit.faults.engine import Engine, Put, error_response, keys_of, response_to, summary_of
from tests.unit.faults.faults import (
    CANCELLATIONS,
    REFUSALS,
    Fault,
    ProcessKilled,
    named_in_part,
    part_of,
    possible,
)
from tests.unit.lambda_calls import Answer, FakeContext

S = TypeVar("S")
T = TypeVar("T")

_APPS = (insert_metering_record.app, insert_metering_records.app)
_ROUND_TRIP_MS = 5
_SLOW_MS = 2_500


class Invocation:
    """One run of a function: a process of its own, with its threads and its time."""

    def __init__(self, name: str, started_ms: int, time_ms: int) -> None:
        self.name = name
        self.started_ms = started_ms
        self.deadline_ms = started_ms + time_ms
        self.ended_ms = started_ms
        self.ended = False
        self.answer: Answer | None = None
        self.committed: list[Sequence[Put]] = []
        """The transactions it committed."""
        self.answered: list[Sequence[Put]] = []
        """Those it was told of."""
        self.sent: list[AWSPreparedRequest] = []
        # State that Powertools keeps on a class or the app, because a process has one request at a time.
        self._memory: dict[str, object] = dict.fromkeys(("current_event", "lambda_context"))
        self._app_contexts: list[dict[str, object]] = [{} for _ in _APPS]

    @contextmanager
    def in_memory(self) -> Iterator[None]:
        """Give the process its own memory while one of its threads runs."""
        for name, value in self._memory.items():
            setattr(BaseRouter, name, value)
        for app, app_context in zip(_APPS, self._app_contexts, strict=True):
            app.context = app_context
        try:
            yield
        finally:
            self._memory = {name: getattr(BaseRouter, name) for name in self._memory}


@dataclass(eq=False)
class _Thread:
    invocation: Invocation
    now_ms: int
    greenlet: greenlet
    awaits: Callable[[], bool] | None = None

    @property
    def has_turn(self) -> bool:
        return bool(self.greenlet) and self.awaits is None

    @property
    def is_ready(self) -> bool:
        return not self.greenlet if self.awaits is None else self.awaits()


class _Pool:
    """Stands in for ``ThreadPoolExecutor``, as far as ``map`` inside a ``with``, with simulated threads."""

    def __init__(self, simulation: Simulation, max_workers: int) -> None:
        self._simulation = simulation
        self._workers = max_workers
        self._workers_left = 0
        self._tasks: deque[tuple[int, Callable[[], object]]] = deque()
        self._ended_ms: dict[int, int] = {}
        self._outcomes: dict[int, object] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for what has begun."""
        self._tasks.clear()
        self._simulation.wait_for(lambda: self._workers_left == 0)
        self._simulation.be_at_least(max(self._ended_ms.values(), default=0))

    def map(self, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
        self._tasks.extend((number, partial(function, item)) for number, item in enumerate(items))
        count = len(self._tasks)
        self._workers_left = min(self._workers, count)
        for _ in range(self._workers_left):
            self._simulation.start_thread(self._work)
        for number in range(count):
            self._simulation.wait_for(partial(self._ended_ms.__contains__, number))
            self._simulation.be_at_least(self._ended_ms[number])
            outcome = self._outcomes[number]
            if isinstance(outcome, Exception):
                raise outcome
            yield cast("T", outcome)

    def _work(self) -> None:
        while self._tasks:
            number, task = self._tasks.popleft()
            try:
                self._outcomes[number] = task()
            except Exception as error:
                self._outcomes[number] = error
            self._ended_ms[number] = self._simulation.now_ms
        self._workers_left -= 1


class _Time:
    """Stands in for the ``time`` module."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def sleep(self, seconds: float) -> None:
        self._simulation.spend(round(seconds * 1000))

    def time(self) -> float:
        return self._simulation.now_ms / 1000

    def time_ns(self) -> int:
        return self._simulation.now_ms * 1_000_000

    monotonic = perf_counter = time
    monotonic_ns = perf_counter_ns = time_ns


class _Context(FakeContext):
    """A Lambda context whose time is the simulation's."""

    def __init__(self, simulation: Simulation, deadline_ms: int) -> None:
        super().__init__()
        self._simulation = simulation
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - self._simulation.now_ms)


class Simulation:
    """Runs invocations one step at a time, between the functions' boto3 client and the engine."""

    def __init__(
        self,
        engine: Engine,
        client: DynamoDBClient,
        *,
        say: Callable[[str], None],
        on_commit: Callable[[Invocation, Sequence[Put]], None],
    ) -> None:
        self._engine = engine
        self._events: Any = client.meta.events
        self._on_commit = on_commit
        self._say = say
        self._hub = getcurrent()
        self._threads: list[_Thread] = []
        self._in_flight: list[tuple[AWSPreparedRequest, Invocation]] = []
        self.faults: list[Fault] = []
        """Those injected, in their order."""
        self.requests: Counter[Fault] = Counter()
        """Requests to DynamoDB, by what happened to them."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Replace the handlers' clock, threads and network by simulated ones."""
        stand_ins = {
            "time": (time, _Time(self)),
            "ThreadPoolExecutor": (ThreadPoolExecutor, partial(_Pool, self)),
        }
        with ExitStack() as replaced:
            for module in [m for name, m in sys.modules.items() if name.startswith("metering_handlers.")]:
                for name, (real, stand_in) in stand_ins.items():
                    if getattr(module, name, None) is real:
                        replaced.enter_context(patch.object(module, name, stand_in))
            # botocore asks every listener, and moto's would execute the request a second time.
            self._events.unregister("before-send", botocore_stubber)
            self._events.register("before-send", self._send)
            try:
                yield
            finally:
                for thread in self._threads:
                    thread.invocation.ended = True
                while self._threads:
                    self._kill_threads_of(self._threads[0].invocation)
                self._events.unregister("before-send", self._send)
                self._events.register("before-send", botocore_stubber)

    # Called by the test.

    def start(
        self, name: str, started_ms: int, time_ms: int, handle: Callable[[FakeContext], Answer]
    ) -> Invocation:
        """Start an invocation, and run it up to its first request."""
        invocation = Invocation(name, started_ms, time_ms)

        def run() -> None:
            invocation.answer = handle(_Context(self, invocation.deadline_ms))
            invocation.ended_ms = self.now_ms

        self._threads.append(_Thread(invocation, started_ms, greenlet(run, self._hub)))
        self._run_ahead()
        return invocation

    @property
    def waiting(self) -> int:
        """Threads that wait for their turn with a request."""
        return sum(thread.has_turn for thread in self._threads)

    def step(self, index: int, fault: Fault) -> None:
        """Give a waiting thread its turn, and decide what happens to its request."""
        self._resume([thread for thread in self._threads if thread.has_turn][index], fault)
        self._run_ahead()

    @property
    def in_flight(self) -> int:
        """Requests that timed out and have not arrived."""
        return len(self._in_flight)

    def deliver(self, index: int) -> Invocation:
        """Let a request arrive that timed out, and return whose it was."""
        request, invocation = self._in_flight.pop(index)
        self._note_committed(invocation, self._engine.execute(request).committed)
        return invocation

    def _run_ahead(self) -> None:
        """Run what needs no turn: new threads, and those whose awaited result is there."""
        while ready := [thread for thread in self._threads if thread.is_ready]:
            self._resume(ready[0], Fault.NONE)

    def _resume(self, thread: _Thread, fault: Fault) -> None:
        invocation = thread.invocation
        self._running = thread
        with invocation.in_memory():
            try:
                thread.greenlet.switch(*[fault] if thread.greenlet else ())
            except ProcessKilled:
                invocation.ended = True
                invocation.ended_ms = thread.now_ms
        if invocation.ended:
            self._kill_threads_of(invocation)
        elif thread.greenlet.dead:
            self._threads.remove(thread)
            invocation.ended = all(other.invocation is not invocation for other in self._threads)

    def _kill_threads_of(self, invocation: Invocation) -> None:
        for thread in [thread for thread in self._threads if thread.invocation is invocation]:
            self._threads.remove(thread)
            self._running = thread
            with invocation.in_memory():
                try:
                    if thread.greenlet:
                        thread.greenlet.throw(ProcessKilled)
                except ProcessKilled:
                    pass

    # Called by the simulated threads.

    @property
    def now_ms(self) -> int:
        return self._running.now_ms

    def spend(self, milliseconds: int) -> None:
        self._running.now_ms += milliseconds

    def be_at_least(self, now_ms: int) -> None:
        self._running.now_ms = max(self._running.now_ms, now_ms)

    def start_thread(self, run: Callable[[], None]) -> None:
        parent = self._running
        self._threads.append(_Thread(parent.invocation, parent.now_ms, greenlet(run, self._hub)))

    def wait_for(self, condition: Callable[[], bool]) -> None:
        thread = self._running
        if not thread.invocation.ended and not condition():
            thread.awaits = condition
            self._await_turn()
            thread.awaits = None

    def _await_turn(self) -> Fault:
        """Pause this thread until the test resumes it."""
        if self._running.invocation.ended:
            # The code has caught ProcessKilled; a killed process sends nothing more.
            raise ProcessKilled
        fault: Fault = self._hub.switch()
        return fault

    # The network.

    def _send(self, request: AWSPreparedRequest, **_: object) -> AWSResponse:
        """Answer in the client's place, at botocore's ``before-send`` event."""
        fault = possible(self._await_turn(), request)
        if fault is not Fault.SOME_REASONS:
            self._note_request(request, fault)
        if fault in (Fault.LATE, Fault.KILLED_LATE):
            self._in_flight.append((request, self._running.invocation))
        if fault in (Fault.KILLED_BEFORE, Fault.KILLED_LATE):
            raise ProcessKilled
        if fault is Fault.REQUEST_LOST:
            self.spend(CONNECT_TIMEOUT_MS)
            raise ConnectTimeoutError(endpoint_url=request.url)
        if fault is Fault.CONNECTION_REFUSED:
            raise EndpointConnectionError(endpoint_url=request.url)
        if fault is Fault.LATE:
            self.spend(READ_TIMEOUT_MS)
            raise ReadTimeoutError(endpoint_url=request.url)
        self.spend(_ROUND_TRIP_MS)
        if refusal := REFUSALS.get(fault):
            return error_response(request, *refusal, "injected")
        if reason := CANCELLATIONS.get(fault):
            return self._engine.cancel(request, reason)
        if fault is Fault.UNPROCESSED_KEYS:
            return self._engine.read(request, part_of(keys_of(request), at_least=0))
        return self._executed(request, fault)

    def _executed(self, request: AWSPreparedRequest, fault: Fault) -> AWSResponse:
        execution = self._engine.execute(request)
        if fault is Fault.SOME_REASONS:
            named = named_in_part(execution.answer)
            self._note_request(request, Fault.NONE if named is None else fault)
            if named is not None:
                return response_to(request, 400, named)
        invocation = self._running.invocation
        self._note_committed(invocation, execution.committed)
        if fault is Fault.KILLED_AFTER:
            raise ProcessKilled
        if fault is Fault.ANSWER_LOST:
            self.spend(READ_TIMEOUT_MS)
            raise ReadTimeoutError(endpoint_url=request.url)
        if fault is Fault.CONNECTION_CLOSED:
            raise ConnectionClosedError(endpoint_url=request.url)
        if fault is Fault.ANSWER_500:
            return error_response(request, 500, "InternalServerError", "injected")
        if fault is Fault.ANSWER_503:
            return response_to(request, 503, "")
        if fault is Fault.SLOW:
            self.spend(_SLOW_MS)
            self._await_turn()
        if execution.committed:
            invocation.answered.append(execution.committed)
        return execution.answer

    def _note_request(self, request: AWSPreparedRequest, fault: Fault) -> None:
        self.requests[fault] += 1
        if fault is not Fault.NONE:
            self.faults.append(fault)
        invocation = self._running.invocation
        invocation.sent.append(request)
        self._say(f"  {invocation.name}, {fault.value}: {summary_of(request)}")

    def _note_committed(self, invocation: Invocation, puts: Sequence[Put]) -> None:
        if puts:
            invocation.committed.append(puts)
            self._on_commit(invocation, puts)
