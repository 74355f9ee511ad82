"""Function invocations that run interleaved, in one thread and in virtual time: the same moves, the same run.

Each invocation runs the real handler until it calls DynamoDB, and waits there for its turn. What goes next,
and what happens to its request, is the test's choice at every step. The threads of an invocation are
greenlets, so only one thing runs at a time.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NoReturn, ParamSpec, TypeVar
from unittest.mock import patch

from aws_lambda_powertools.event_handler.api_gateway import BaseRouter
from greenlet import getcurrent, greenlet

from metering_handlers import insert_metering_record, insert_metering_records
from tests.unit.faults.engine import summary_of
from tests.unit.faults.faults import Fault, Network, ProcessKilled
from tests.unit.lambda_calls import FakeContext

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from botocore.awsrequest import AWSPreparedRequest

    from tests.unit.faults.engine import Engine, Put
    from tests.unit.lambda_calls import Answer

P = ParamSpec("P")
T = TypeVar("T")

_APPS = (insert_metering_record.app, insert_metering_records.app)


class Invocation:
    """One run of a function: a process of its own, with its threads and its time.

    Parameters
    ----------
    name : str
        Name of the caller, for the log.
    started_ms : int
        When it starts, in ms since the epoch.
    time_ms : int
        Time after which Lambda stops it, in ms.
    handle : Callable[[FakeContext], Answer]
        Calls the handler.
    """

    def __init__(
        self,
        simulation: Simulation,
        name: str,
        started_ms: int,
        time_ms: int,
        handle: Callable[[FakeContext], Answer],
    ) -> None:
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
        self._simulation = simulation
        self._handle = handle

    def run(self) -> None:
        self.answer = self._handle(_Context(self._simulation, self.deadline_ms))
        self.ended_ms = self._simulation.now_ms

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


class _Context(FakeContext):
    """A Lambda context whose time is the simulation's."""

    def __init__(self, simulation: Simulation, deadline_ms: int) -> None:
        super().__init__()
        self._simulation = simulation
        self._deadline_ms = deadline_ms

    def get_remaining_time_in_millis(self) -> int:
        return max(0, self._deadline_ms - self._simulation.now_ms)


@dataclass(eq=False)
class _Thread:
    invocation: Invocation
    now_ms: int
    greenlet: greenlet
    awaited: _Future[object] | None = None

    @property
    def has_turn(self) -> bool:
        return bool(self.greenlet) and self.awaited is None

    @property
    def is_ready(self) -> bool:
        return not self.greenlet if self.awaited is None else self.awaited.done()


class _Future(Future[T]):
    """A future whose result a simulated thread waits for."""

    def __init__(self, simulation: Simulation) -> None:
        super().__init__()
        self._simulation = simulation
        self.ended_ms = 0

    def result(self, timeout: float | None = None) -> T:
        self._simulation.wait_for(self)
        return super().result(timeout)


class _Pool(Executor):
    """Stands in for ``ThreadPoolExecutor``: its threads are simulated ones."""

    def __init__(self, simulation: Simulation, max_workers: int) -> None:
        self._simulation = simulation
        self._idle_slots = max_workers
        self._tasks: deque[tuple[_Future[object], Callable[[], object], int]] = deque()
        self._futures: list[_Future[object]] = []

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        future: _Future[T] = _Future(self._simulation)
        self._tasks.append((future, partial(fn, *args, **kwargs), self._simulation.now_ms))  # type: ignore[arg-type]
        self._futures.append(future)  # type: ignore[arg-type]
        if self._idle_slots:
            self._idle_slots -= 1
            self._simulation.start_thread(self._work)
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            while self._tasks:
                self._tasks.popleft()[0].cancel()
        if wait:
            for future in self._futures:
                self._simulation.wait_for(future)

    def _work(self) -> None:
        while self._tasks:
            future, task, submitted_ms = self._tasks.popleft()
            self._simulation.be_at_least(submitted_ms)
            try:
                result = task()
            except Exception as error:
                future.ended_ms = self._simulation.now_ms
                future.set_exception(error)
            else:
                future.ended_ms = self._simulation.now_ms
                future.set_result(result)
        self._idle_slots += 1


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


class Simulation:
    """Runs invocations one step at a time, as their network's caller."""

    def __init__(
        self,
        engine: Engine,
        network: Network,
        *,
        say: Callable[[str], None],
        on_commit: Callable[[Invocation, Sequence[Put]], None],
    ) -> None:
        self._engine = engine
        self._on_commit = on_commit
        self._say = say
        self._network = network
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
        with ExitStack() as replaced:
            for module in [
                module for name, module in sys.modules.items() if name.startswith("metering_handlers.")
            ]:
                if getattr(module, "time", None) is time:
                    replaced.enter_context(patch.object(module, "time", _Time(self)))
                if getattr(module, "ThreadPoolExecutor", None) is ThreadPoolExecutor:
                    replaced.enter_context(patch.object(module, "ThreadPoolExecutor", partial(_Pool, self)))
            self._network.caller = self
            try:
                yield
            finally:
                for thread in self._threads:
                    thread.invocation.ended = True
                while self._threads:
                    self._kill_threads_of(self._threads[0].invocation)
                self._network.caller = None

    # Called by the test.

    def start(
        self, name: str, started_ms: int, time_ms: int, handle: Callable[[FakeContext], Answer]
    ) -> Invocation:
        """Start an invocation, and run it up to its first request."""
        invocation = Invocation(self, name, started_ms, time_ms, handle)
        self._add_thread(invocation, invocation.run, started_ms)
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

    @property
    def in_flight(self) -> int:
        """Requests that timed out and have not arrived."""
        return len(self._in_flight)

    def deliver(self, index: int) -> Invocation:
        """Let a request arrive that timed out, and return whose it was."""
        request, invocation = self._in_flight.pop(index)
        if committed := self._engine.execute(request).committed:
            self._note_committed(invocation, committed)
        return invocation

    # Called by the simulated threads.

    @property
    def now_ms(self) -> int:
        return self._running.now_ms

    def spend(self, milliseconds: int) -> None:
        self._running.now_ms += milliseconds

    def be_at_least(self, now_ms: int) -> None:
        self._running.now_ms = max(self._running.now_ms, now_ms)

    def start_thread(self, run: Callable[[], None]) -> None:
        self._add_thread(self._running.invocation, run, self._running.now_ms)

    def wait_for(self, future: _Future[T]) -> None:
        thread = self._running
        if thread.invocation.ended:
            return
        if not future.done():
            thread.awaited = future  # type: ignore[assignment]
            self.await_turn()
            thread.awaited = None
        self.be_at_least(future.ended_ms)

    def die(self) -> NoReturn:
        raise ProcessKilled

    def note_request(self, request: AWSPreparedRequest, fault: Fault) -> None:
        self.requests[fault] += 1
        if fault is not Fault.NONE:
            self.faults.append(fault)
        invocation = self._running.invocation
        invocation.sent.append(request)
        self._say(f"  {invocation.name}, {fault.value}: {summary_of(request)}")

    def note_committed(self, puts: Sequence[Put]) -> None:
        self._note_committed(self._running.invocation, puts)

    def note_answered(self, puts: Sequence[Put]) -> None:
        self._running.invocation.answered.append(puts)

    def note_in_flight(self, request: AWSPreparedRequest) -> None:
        self._in_flight.append((request, self._running.invocation))

    def _note_committed(self, invocation: Invocation, puts: Sequence[Put]) -> None:
        invocation.committed.append(puts)
        self._on_commit(invocation, puts)

    def _add_thread(self, invocation: Invocation, run: Callable[[], None], now_ms: int) -> None:
        self._threads.append(_Thread(invocation, now_ms, greenlet(run, self._hub)))

    def await_turn(self) -> Fault:
        """Pause this thread until the test resumes it."""
        if self._running.invocation.ended:
            # The code has caught ProcessKilled; a killed process sends nothing more.
            raise ProcessKilled
        fault: Fault = self._hub.switch()
        return fault

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
