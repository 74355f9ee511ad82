"""Function invocations that run interleaved, in one thread and in virtual time: the same moves, the same run.

Each invocation runs the real handler until it calls DynamoDB, and waits there for its turn. What goes next,
and what happens to its request, is the test's choice at every step. The threads of an invocation are
greenlets, so only one thing runs at a time.
"""

from __future__ import annotations

import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import pytest
from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from greenlet import getcurrent, greenlet
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import botocore_stubber
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers import insert_metering_record, insert_metering_records
from metering_handlers.http.resolver import LambdaHandler
from tests.unit.faults.engine import Engine, Put, Request, Response, error, named_in_part, part_of
from tests.unit.faults.faults import (
    ARRIVE_LATER,
    CANCELLATIONS,
    DEADLY,
    ERRORS,
    EXCEPTIONS,
    NEVER_ARRIVE,
    OF_TRANSACTIONS,
    TAKES_MS,
    Fault,
)
from tests.unit.faults.ledger import Sent
from tests.unit.lambda_calls import Answer, Api, FakeContext

S = TypeVar("S")
T = TypeVar("T")

_APPS = (insert_metering_record.app, insert_metering_records.app)
_ROUND_TRIP_MS = 5


class ProcessKilled(BaseException):
    """The function's process was killed."""


class Invocation:
    """One run of a function: a process of its own, with its threads and its time."""

    def __init__(self, sent: Sent, name: str, started_ms: int, time_ms: int) -> None:
        self.sent = sent
        self.name = name
        self.deadline_ms = started_ms + time_ms
        self.ended_ms = started_ms
        self.ended = False
        self.answer: Answer | None = None
        """None if the process was killed."""
        self.transactions: list[Request] = []
        """All that it tried."""
        self.committed: list[Sequence[Put]] = []
        self.told: list[Sequence[Put]] = []
        """Those of the committed transactions of which it got the answer."""
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
        return self.awaits() if self.awaits else not self.greenlet


class Simulation:
    """Runs invocations one step at a time, between the functions' boto3 client and the engine.

    It stands in for the module ``time`` too, as far as the functions use it.
    """

    def __init__(
        self,
        client: DynamoDBClient,
        *,
        say: Callable[[str], None],
        on_commit: Callable[[Invocation, Sequence[Put]], None],
    ) -> None:
        self._engine = Engine()
        self._events: Any = client.meta.events
        self._on_commit = on_commit
        self._say = say
        self._hub = getcurrent()
        self._threads: list[_Thread] = []
        self._in_flight: list[tuple[Request, Invocation]] = []
        self.faults: list[Fault] = []
        """What happened to each request to DynamoDB, in their order."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Replace the handlers' clock, threads and network by simulated ones."""
        stand_ins = {"time": (time, self), "ThreadPoolExecutor": (ThreadPoolExecutor, partial(_Pool, self))}
        with pytest.MonkeyPatch.context() as patched:
            for module in [m for name, m in sys.modules.items() if name.startswith("metering_handlers.")]:
                for name, (real, stand_in) in stand_ins.items():
                    if getattr(module, name, None) is real:
                        patched.setattr(module, name, stand_in)
            # botocore asks every listener, and moto's would execute the request a second time.
            self._events.unregister("before-send", botocore_stubber)
            self._events.register("before-send", self._send)
            try:
                yield
            finally:
                while self._threads:
                    self._kill(self._threads[0].invocation)
                self._events.unregister("before-send", self._send)
                self._events.register("before-send", botocore_stubber)

    # Called by the test.

    def start(self, invocation: Invocation, handler: LambdaHandler, event: dict[str, Any]) -> None:
        """Start an invocation, and run it up to its first request."""
        simulation = self

        class Context(FakeContext):
            def get_remaining_time_in_millis(self) -> int:
                return max(0, invocation.deadline_ms - simulation.now_ms)

        def run() -> None:
            api = Api()
            api.context = Context()
            invocation.answer = api.call(handler, event)
            invocation.ended_ms = self.now_ms

        self._threads.append(_Thread(invocation, invocation.ended_ms, greenlet(run, self._hub)))
        self._run_ahead()

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

    def deliver(self, index: int) -> None:
        """Let a request arrive that timed out."""
        request, invocation = self._in_flight.pop(index)
        self._say(f"a request of {invocation.name} arrives late: {request}")
        self._note_committed(invocation, self._executed(request, Fault.NONE))

    def _run_ahead(self) -> None:
        """Run what needs no turn: new threads, and those whose awaited result is there."""
        while ready := [thread for thread in self._threads if thread.is_ready]:
            self._resume(ready[0], Fault.NONE)

    def _resume(self, thread: _Thread, fault: Fault) -> None:
        invocation = thread.invocation
        self._running = thread
        try:
            with invocation.in_memory():
                thread.greenlet.switch(*[fault] if thread.greenlet else ())
        except ProcessKilled:
            invocation.ended_ms = thread.now_ms
            self._kill(invocation)
        if thread.greenlet.dead and thread in self._threads:
            self._threads.remove(thread)
            invocation.ended = all(other.invocation is not invocation for other in self._threads)

    def _kill(self, invocation: Invocation) -> None:
        invocation.ended = True
        for thread in [thread for thread in self._threads if thread.invocation is invocation]:
            self._threads.remove(thread)
            self._running = thread
            if thread.greenlet:
                with invocation.in_memory(), suppress(ProcessKilled):
                    thread.greenlet.throw(ProcessKilled)

    # Called by the simulated threads.

    @property
    def now_ms(self) -> int:
        return self._running.now_ms

    def sleep(self, seconds: float) -> None:
        self._running.now_ms += round(seconds * 1000)

    def monotonic(self) -> float:
        return self.now_ms / 1000

    perf_counter = monotonic

    def start_thread(self, run: Callable[[], None]) -> None:
        parent = self._running
        self._threads.append(_Thread(parent.invocation, parent.now_ms, greenlet(run, self._hub)))

    def join(self, threads: int, ended_ms: list[int]) -> None:
        """Wait until so many threads have noted when they ended."""
        thread = self._running
        thread.awaits = lambda: len(ended_ms) == threads
        self._await_turn()
        thread.awaits = None
        thread.now_ms = max(thread.now_ms, *ended_ms)

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
        answer = self._answered(Request(request), self._await_turn(), request.url)
        headers = HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.0"})
        return AWSResponse(request.url, answer.status, headers, MockRawResponse(answer.body))

    def _answered(self, request: Request, fault: Fault, url: str) -> Response:
        invocation = self._running.invocation
        if fault in (OF_TRANSACTIONS if request.is_read else (Fault.UNPROCESSED_KEYS,)):
            fault = Fault.NONE
        answer = Response(0, "")
        if fault in ARRIVE_LATER:
            self._in_flight.append((request, invocation))
        elif fault not in NEVER_ARRIVE:
            answer = self._executed(request, fault)
            if fault is Fault.SOME_REASONS:
                if (named := named_in_part(answer.body)) is None:
                    fault = Fault.NONE
                else:
                    answer = Response(400, named)
        self.faults.append(fault)
        self._say(f"  {invocation.name}, {fault.value}: {request}")
        if not request.is_read:
            invocation.transactions.append(request)
        self._note_committed(invocation, answer)
        if fault in DEADLY:
            raise ProcessKilled
        self._running.now_ms += TAKES_MS.get(fault, _ROUND_TRIP_MS)
        if fault in EXCEPTIONS:
            raise EXCEPTIONS[fault](endpoint_url=url)
        if fault in ERRORS:
            status, code = ERRORS[fault]
            return Response(status, code and error(code))
        if fault is Fault.SLOW:
            self._await_turn()
        if answer.committed:
            invocation.told.append(answer.committed)
        return answer

    def _executed(self, request: Request, fault: Fault) -> Response:
        if not request.is_read:
            return self._engine.transact(request, CANCELLATIONS.get(fault))
        is_whole = fault is not Fault.UNPROCESSED_KEYS
        return self._engine.read(request, request.keys if is_whole else part_of(request.keys, at_least=0))

    def _note_committed(self, invocation: Invocation, answer: Response) -> None:
        if answer.committed:
            invocation.committed.append(answer.committed)
            self._on_commit(invocation, answer.committed)


class _Pool:
    """Stands in for ``ThreadPoolExecutor``, as far as ``map`` inside a ``with``, with simulated threads."""

    def __init__(self, simulation: Simulation, max_workers: int) -> None:
        self._simulation = simulation
        self._max_workers = max_workers

    def __enter__(self) -> _Pool:
        return self

    def __exit__(self, *_: object) -> None: ...

    def map(self, function: Callable[[S], T], items: Iterable[S]) -> list[T]:
        """Wait until all is done, or until what has begun is done if a part fails."""
        simulation = self._simulation
        tasks = deque(enumerate(items))
        results: dict[int, T] = {}
        errors: list[Exception] = []
        ended_ms: list[int] = []

        def work() -> None:
            while tasks and not errors:
                number, item = tasks.popleft()
                try:
                    results[number] = function(item)
                except Exception as error:
                    errors.append(error)
            ended_ms.append(simulation.now_ms)

        workers = min(self._max_workers, len(tasks))
        for _ in range(workers):
            simulation.start_thread(work)
        simulation.join(workers, ended_ms)
        if errors:
            raise errors[0]
        return [result for _, result in sorted(results.items())]
