"""Runs a schedule, and compares the table at the end with the acknowledged requests."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from metering_handlers import insert_metering_record, insert_metering_records
from metering_handlers.models import MAX_TIMESTAMP, RecordStatus
from metering_handlers.outcomes import outcome_of
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.faults.engine import token_and_transaction
from tests.unit.faults.hourly_job import HourlyJob, Marketplace, MeteringError
from tests.unit.faults.schedules import Call, Failure, Move, Payload
from tests.unit.faults.simulation import Simulation
from tests.unit.lambda_calls import Api, buyer, usage
from tests.unit.proxy_event import as_json, proxy_event

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from mypy_boto3_dynamodb import DynamoDBClient

    from metering_handlers.api import LambdaHandler
    from tests.unit.faults.engine import Engine
    from tests.unit.faults.faults import Fault, Network
    from tests.unit.faults.schedules import Day, JobRuns, Schedule
    from tests.unit.faults.simulation import Invocation
    from tests.unit.faults.tally import Tally
    from tests.unit.lambda_calls import Answer, FakeContext

    Content = tuple[str, tuple[tuple[str, int], ...]]
    """Content of a record: customer, dimensions and quantities."""
    RecordKey = tuple[str, int]

_START_MS = 1_795_446_956_551
_HOUR_MS = 3_600_000
_REMEMBERED_MS = 24 * _HOUR_MS
_KEY_REUSED = "urn:marketplace-metering:problem:idempotency-key-reused"
_STEPS_LIMIT = 5_000
_EXCEPTION = "InvalidUsageDimensionException"
_FAILURES: Mapping[Failure, dict[str, str] | MeteringError] = {
    Failure.REFUSED: {"d0": Failure.REFUSED.value},
    Failure.UNPROCESSED: {"d0": Failure.UNPROCESSED.value},
    Failure.EXCEPTION_2025: MeteringError({"message": "…", "code": _EXCEPTION}),
    Failure.EXCEPTION_2026: MeteringError({"$fault": "client", "name": _EXCEPTION}),
}


class _State(Enum):
    WAITING = "is to be sent"
    UNDER_WAY = "is under way"
    UNANSWERED = "has no final answer"
    DONE = "is acknowledged or refused"


@dataclass(eq=False)
class _Client:
    name: str
    call: Call
    payload: int
    key: str | None
    attempts_left: int
    start_ms: int
    state: _State = _State.WAITING


@dataclass(eq=False)
class _Attempt:
    client: _Client
    key: str
    """The idempotency key: the header, or else the extended request id."""
    prefer: bool
    taken: bool = False


class Run:
    """One schedule's run.

    Parameters
    ----------
    engine : Engine
        DynamoDB; it is emptied.
    network : Network
        The network between the functions and the engine.
    client : DynamoDBClient
        The hourly job's client, without faults.
    tally : Tally
        Counts what happens.
    """

    def __init__(self, engine: Engine, network: Network, client: DynamoDBClient, tally: Tally) -> None:
        engine.clear()
        self._engine = engine
        self._simulation = Simulation(engine, network, self._say)
        self._client = client
        self._marketplace = Marketplace()
        self._job = HourlyJob(client, METERING_TABLE_NAME, self._marketplace)
        self._tally = tally
        self._now_ms = _START_MS
        self._requests = 0
        self._chosen_request_ids: set[str] = set()
        self._job_runs = 0
        self._clients: list[_Client] = []
        self._attempts: dict[Invocation, _Attempt] = {}
        # What callers know, by key.
        self._sent: dict[str, set[int]] = {}
        self._owner: dict[str, int] = {}
        self._stored_keys: dict[str, list[RecordKey]] = {}
        self._first_write_ms: dict[str, int] = {}
        self._forgotten: Counter[Content] = Counter()
        self._log: list[str] = []
        self.statuses: list[int | None] = []
        """The answers in their order; None where a process was killed."""

    def run(self, schedule: Schedule) -> None:
        """Run it.

        Raises
        ------
        AssertionError
            If the API broke a promise; its notes tell what happened, step by step.
        """
        self._payloads = schedule.payloads
        self._tally.schedules += 1
        try:
            with self._simulation.running():
                for number, day in enumerate(schedule.days):
                    self._pass_hours(day)
                    self._open(day, number)
                    self._move(day.moves)
                self._settle()
                self._replay_all()
                if self._job_runs:
                    self._check_metering()
        except AssertionError as error:
            self._tally.failed += 1
            error.add_note("\n".join([f"The schedule: {schedule!r}", "What happened:", *self._log]))
            raise
        finally:
            self._tally.requests.update({fault.value: n for fault, n in self._simulation.requests.items()})

    @property
    def faults(self) -> list[Fault]:
        """The faults injected, in their order."""
        return self._simulation.faults

    @property
    def delays_ms(self) -> list[int]:
        """``create_timestamp`` of each stored record, in ms since the schedule's start."""
        return sorted(self._key_of(item)[1] - _START_MS for item in self._records())

    # Steps of the schedule.

    def _pass_hours(self, day: Day) -> None:
        if day.gap_hours:
            while self._simulation.in_flight:
                self._deliver(0)
            if self._expiring(day):
                # What is not resumed within 24 hours cannot be: a caller has that long.
                self._settle()
                self._replay_all()
            self._attempts.clear()
        for key in self._expiring(day):
            self._forgotten.update(self._contents(self._owner.pop(key)))
            self._stored_keys.pop(key, None)
            del self._sent[key]
            del self._first_write_ms[key]
        self._now_ms += day.gap_hours * _HOUR_MS
        self._say(f"{day.gap_hours} hours later")
        if day.swept:
            self._sweep(every_second=day.swept == 2)

    def _expiring(self, day: Day) -> list[str]:
        """List the keys that will be forgotten when that day begins."""
        written_before = self._now_ms + day.gap_hours * _HOUR_MS - _REMEMBERED_MS
        return [key for key, written_ms in self._first_write_ms.items() if written_ms <= written_before]

    def _sweep(self, *, every_second: bool) -> None:
        rows = sorted(self._engine.items(IDEMPOTENCY_TABLE_NAME), key=lambda row: str(row["id"]))
        expired = [str(row["id"]) for row in rows if float(str(row["expiration"])) * 1000 <= self._now_ms]
        for row_id in expired[:: 2 if every_second else 1]:
            self._engine.delete(IDEMPOTENCY_TABLE_NAME, row_id)

    def _open(self, day: Day, number: int) -> None:
        for client in self._clients:
            if client.state is _State.UNANSWERED:
                client.state = _State.WAITING
                client.start_ms = max(client.start_ms, self._now_ms)
        for position, call in enumerate(day.calls):
            self._clients.append(
                _Client(
                    name=f"client {number}.{position}",
                    call=call,
                    payload=call.payload % len(self._payloads),
                    key=None if call.key is None else f"key-{call.key}",
                    attempts_left=call.attempts,
                    start_ms=self._now_ms + call.at_ms,
                )
            )

    def _move(self, moves: Sequence[Move | JobRuns]) -> None:
        left = deque(moves)
        for _ in range(_STEPS_LIMIT):
            move = left.popleft() if left else Move()
            if not isinstance(move, Move):
                self._run_job(move)
                continue
            waiting = [client for client in self._clients if client.state is _State.WAITING]
            running = self._simulation.waiting
            # Without further moves, delayed requests do not arrive.
            choices = running + len(waiting) + (self._simulation.in_flight if left else 0)
            if choices:
                what = move.what % choices
                if what < running:
                    self._step(what, move.fault)
                elif what < running + len(waiting):
                    self._send(waiting[what - running])
                else:
                    self._deliver(what - running - len(waiting))
            elif not left:
                return
        raise AssertionError("The functions do not come to an end.")

    def _settle(self) -> None:
        """Retry all requests without a final answer, without faults; then let delayed requests arrive."""
        for client in self._clients:
            if client.state is _State.UNANSWERED:
                client.state = _State.WAITING
                client.attempts_left = 1
                client.start_ms = self._now_ms
                self._move(())
                assert client.state is _State.DONE, f"{client.name} {client.state.value} after a good retry"
        while self._simulation.in_flight:
            self._deliver(0)

    def _replay_all(self) -> None:
        """Repeat all acknowledged requests: nothing is written, and the answers have the records' keys."""
        replays: list[Invocation] = []
        for key, payload in self._owner.items():
            client = _Client(f"replay of {key}", Call(prefer=True), payload, key, 1, self._now_ms)
            self._clients.append(client)
            replays.append(self._send(client))
            self._move(())
        self._check_table()
        for replay in replays:
            assert replay.answer is not None
            assert replay.answer.status == 200
            assert replay.answer.headers.get("Idempotent-Replayed") == "true"
        contents = {self._key_of(item): self._content_of(item) for item in self._records()}
        for key, payload in self._owner.items():
            assert [contents.get(stored) for stored in self._stored_keys[key]] == self._contents(payload), (
                "the keys returned are not the records'"
            )

    # One step.

    def _send(self, client: _Client) -> Invocation:
        client.state = _State.UNDER_WAY
        self._requests += 1
        # As AWS does: the first is API Gateway's own, the second the client's, if it sends one.
        extended_request_id = f"{self._requests:015d}="
        request_id = f"{self._requests:08d}-0000-4000-8000-000000000000"
        headers = {"Content-Type": "application/json"}
        if client.call.x_amzn_request_id is not None:
            request_id = headers["X-Amzn-RequestId"] = f"chosen-{client.call.x_amzn_request_id}"
            self._tally.chosen_request_ids += 1
            self._tally.repeated_request_ids += request_id in self._chosen_request_ids
            self._chosen_request_ids.add(request_id)
        if client.key is not None:
            headers["Idempotency-Key"] = client.key
        if client.call.prefer:
            headers["Prefer"] = "return=representation"
        attempt = _Attempt(client, client.key or extended_request_id, client.call.prefer)
        self._sent.setdefault(attempt.key, set()).add(client.payload)
        self._say(f"{client.name} sends payload {client.payload} under {attempt.key}")

        def handle(context: FakeContext) -> Answer:
            api = Api()
            api.context = context
            handler, path, body = self._request(self._payloads[client.payload], client.payload)
            event = proxy_event(
                "POST",
                path,
                body=as_json(body),
                headers=headers,
                request_id=request_id,
                extended_request_id=extended_request_id,
                request_time_ms=client.start_ms,
            )
            return api.call(handler, event)

        invocation = self._simulation.start(client.name, client.start_ms, client.call.time_ms, handle)
        self._attempts[invocation] = attempt
        self._tally.invocations += 1
        self._take_answers()
        return invocation

    def _request(self, payload: Payload, number: int) -> tuple[LambdaHandler, str, dict[str, object]]:
        entries = [(customer, dict(dimensions)) for customer, dimensions in self._contents(number)]
        if payload.flawed:
            entries[-1][1]["d0"] = -1
        if len(entries) == 1:
            customer, dimensions = entries[0]
            path = f"/insertMeteringRecord/{customer}"
            return insert_metering_record.lambda_handler, path, usage(**dimensions)
        buyers = [buyer(customer, **dimensions) for customer, dimensions in entries]
        return insert_metering_records.lambda_handler, "/insertMeteringRecords", {"buyers": buyers}

    def _step(self, index: int, fault: Fault) -> None:
        self._simulation.step(index, fault)
        self._take_answers()

    def _deliver(self, index: int) -> None:
        invocation = self._simulation.deliver(index)
        attempt = self._attempts[invocation]
        self._say(
            f"a request of {attempt.client.name} arrives late: {len(invocation.committed)} actions in all"
        )
        if invocation.committed:
            self._first_write_ms.setdefault(attempt.key, self._now_ms)

    def _run_job(self, move: JobRuns) -> None:
        self._tally.job_runs += 1
        self._job_runs += 1
        if move.failure is not Failure.NONE:
            self._marketplace.failures = {f"c{move.customer}": _FAILURES[move.failure]}
        self._say(f"the hourly job finds {self._job.run()} records, {move!r}")
        self._marketplace.failures = {}
        self._check_outcomes()

    # Checks.

    def _take_answers(self) -> None:
        for invocation, attempt in self._attempts.items():
            if invocation.committed:
                self._first_write_ms.setdefault(attempt.key, self._now_ms)
            if invocation.ended and not attempt.taken:
                attempt.taken = True
                self._now_ms = max(self._now_ms, invocation.ended_ms)
                self._take_answer(invocation, attempt)

    def _take_answer(self, invocation: Invocation, attempt: _Attempt) -> None:
        client, answer = attempt.client, invocation.answer
        sent = {token_and_transaction(request) for request in invocation.sent}
        tokens, transactions = ({pair[side] for pair in sent} for side in (0, 1))
        assert len(tokens) == len(transactions) == len(sent), "each transaction has one ClientRequestToken"
        client.start_ms = invocation.ended_ms
        client.attempts_left -= 1
        self._say(f"{client.name} is answered {answer and (answer.status, answer.body)}")
        self._tally.answers["none" if answer is None else str(answer.status)] += 1
        self.statuses.append(None if answer is None else answer.status)
        if answer is None:
            # API Gateway's 502 has the extended request id.
            client.key = attempt.key
        elif answer.status == 503:
            self._check_unavailable(answer, invocation, attempt)
            client.key = attempt.key
        elif answer.status == 200:
            self._check_success(answer, invocation, attempt)
        else:
            self._check_refusal(answer, invocation, attempt)
        if answer is not None:
            assert invocation.ended_ms <= invocation.deadline_ms, "answered after the function's time"
        if answer is not None and answer.status != 503:
            client.state = _State.DONE
        else:
            client.state = _State.WAITING if client.attempts_left > 0 else _State.UNANSWERED

    def _check_unavailable(self, answer: Answer, invocation: Invocation, attempt: _Attempt) -> None:
        assert answer.headers["Retry-After"].isdigit()
        assert answer.body["idempotency_key"] == attempt.key
        told = invocation.answered.count(METERING_TABLE_NAME)
        stored = Counter(self._contents(attempt.client.payload)) & self._stored()
        assert told <= answer.body["inserted"] <= stored.total(), "inserted is not what is in"

    def _check_success(self, answer: Answer, invocation: Invocation, attempt: _Attempt) -> None:
        payload = attempt.client.payload
        assert not self._payloads[payload].flawed
        assert self._owner.setdefault(attempt.key, payload) == payload, "two payloads under one key"
        missing = Counter(self._contents(payload)) - self._stored()
        assert not missing, f"acknowledged, but not in the table: {missing}"
        replayed = answer.headers.get("Idempotent-Replayed") == "true"
        assert replayed == (not invocation.committed), "Idempotent-Replayed is wrong"
        if attempt.prefer:
            keys = [(key["customerIdentifier"], key["create_timestamp"]) for key in answer.body["records"]]
            assert self._stored_keys.setdefault(attempt.key, keys) == keys, "a replay returns other keys"
        else:
            assert answer.body == {}

    def _check_refusal(self, answer: Answer, invocation: Invocation, attempt: _Attempt) -> None:
        assert answer.status == 422, answer
        assert not invocation.committed, "a refused request wrote"
        if not self._payloads[attempt.client.payload].flawed:
            assert answer.body["type"] == _KEY_REUSED, answer
            assert len(self._sent[attempt.key]) > 1, "refused, but no other payload had the key"

    def _check_table(self) -> None:
        expected = self._forgotten.copy()
        for payload in self._owner.values():
            expected.update(self._contents(payload))
        stored = self._stored()
        lost, doubled = expected - stored, stored - expected
        self._tally.records += stored.total()
        self._tally.lost += lost.total()
        self._tally.doubled += doubled.total()
        assert lost == doubled == Counter(), f"lost: {dict(lost)}, doubled or left behind: {dict(doubled)}"
        for item in self._records():
            _, timestamp = self._key_of(item)
            assert timestamp == item["create_timestamp"]
            assert timestamp <= MAX_TIMESTAMP

    def _check_metering(self) -> None:
        while self._job.run():
            pass
        acknowledged: Counter[tuple[str, str]] = Counter()
        for (customer, dimensions), times in self._stored().items():
            for dimension, quantity in dimensions:
                acknowledged[customer, dimension] += quantity * times
        assert self._marketplace.metered + self._check_outcomes() == acknowledged
        keys = Counter(
            (customer, str(timestamp)) for customer, timestamp in map(self._key_of, self._records())
        )
        assert self._job.marked == keys, "the job does not mark each record once"

    def _check_outcomes(self) -> Counter[tuple[str, str]]:
        """Compare usage listed as billed with what was billed; return what is listed as failed."""
        called = {status: Counter[tuple[str, str]]() for status in RecordStatus}
        for item in self._client.scan(TableName=METERING_TABLE_NAME)["Items"]:
            for used in outcome_of(item).dimensions:
                assert isinstance(used.dimension, str)
                assert isinstance(used.value, int)
                called[used.status][item["customerIdentifier"]["S"], used.dimension] += used.value
        assert called[RecordStatus.METERED] == self._marketplace.metered, "not what was billed"
        return called[RecordStatus.FAILED]

    # Look-ups.

    def _contents(self, payload: int) -> list[Content]:
        """Return a payload's records; no two entries of a schedule are alike."""
        return [
            (f"c{customer}", ((f"d{entry % 2}", 100 * (payload + 1) + entry),))
            for entry, customer in enumerate(self._payloads[payload].customers)
        ]

    def _records(self) -> list[dict[str, object]]:
        return self._engine.items(METERING_TABLE_NAME)

    def _stored(self) -> Counter[Content]:
        return Counter(self._content_of(item) for item in self._records())

    @staticmethod
    def _content_of(item: Mapping[str, Any]) -> Content:
        dimensions = tuple((used["dimension"], int(used["value"])) for used in item["dimension_usage"])
        return item["customerIdentifier"], dimensions

    @staticmethod
    def _key_of(item: Mapping[str, Any]) -> RecordKey:
        return item["customerIdentifier"], int(item["create_timestamp"])

    def _say(self, line: str) -> None:
        self._log.append(line)
