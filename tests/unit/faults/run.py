"""Runs a schedule, and compares each answer, and the table, with what was committed."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Any
from unittest.mock import patch

from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers import insert_metering_record, insert_metering_records
from metering_handlers.contract.queries import RecordStatus
from metering_handlers.http.resolver import LambdaHandler
from metering_handlers.inserting import canonical_form, division, insertion, request_state
from metering_handlers.inserting.subscribers import Subscribers
from metering_handlers.listing.outcomes import outcome_of
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.faults.engine import SUBSCRIBERS_TABLE_NAME, Engine, Put, is_read, token_and_transaction
from tests.unit.faults.faults import Fault
from tests.unit.faults.ledger import SUM, Group, Ledger, Sent, Use
from tests.unit.faults.schedules import Call, Day, Deployment, JobRuns, Move, Payload, Schedule, TimeToLive
from tests.unit.faults.simulation import Invocation, Simulation
from tests.unit.lambda_calls import FUNCTION_TIME_MS, Answer, Api, FakeContext, buyer, buyers, usage
from tests.unit.proxy_event import as_json, proxy_event
from tools.local_cloud.hourly_job import HourlyJob, Marketplace

START_MS = 1_795_446_956_551
_HOUR_MS = 3_600_000
_DAY_S = 86_400
_PROBLEM = "urn:marketplace-metering:problem:"
_STEPS_LIMIT = 5_000


class _State(Enum):
    WAITING = "is to be sent"
    UNDER_WAY = "is under way"
    UNANSWERED = "has no final answer"
    DONE = "is acknowledged or refused"
    ABANDONED = "was given up"


@dataclass(eq=False)
class _Client:
    name: str
    call: Call
    units: tuple[int, ...]
    flawed: bool
    key: str | None
    attempts_left: int
    start_ms: int
    resume_until: int | None = None
    """The least that it was told, or could know by the time it first sent the request, in s."""
    state: _State = _State.WAITING

    def is_too_late(self, now_ms: int) -> bool:
        return self.resume_until is not None and now_ms > self.resume_until * 1000


@dataclass(frozen=True, eq=False)
class _Attempt:
    client: _Client
    sent: Sent
    has_header: bool
    uses_before: int
    """How many uses of the key were over, or under way, when it was sent."""


@contextmanager
def deployed(deployment: Deployment, units: int) -> Iterator[None]:
    """Run the functions as they were deployed, by a release and its configuration."""
    actions, division_version, digest_version = deployment.release.value
    configured = dataclasses.replace(
        insertion.tables,
        idempotency_hours=deployment.idempotency_hours,
        transaction_id_days=deployment.transaction_id_days,
    )
    names = {SUM, *(f"d{unit}" for unit in range(units) if unit != deployment.lacks)}
    rules = dataclasses.replace(
        insertion.rules,
        dimensions=None if deployment.lacks is None else frozenset(names),
        subscribers=None
        if deployment.lacks_customer is None
        else Subscribers(insertion.tables.client, SUBSCRIBERS_TABLE_NAME),
    )
    with ExitStack() as patched:
        for target, name, value in [
            (division, "MAX_TRANSACTION_ACTIONS", actions),
            (request_state, "DIVISION_VERSION", division_version),
            (canonical_form, "DIGEST_VERSION", digest_version),
            (insertion, "tables", configured),
            (insertion, "rules", rules),
        ]:
            patched.enter_context(patch.object(target, name, value))
        yield


class Run:
    """One schedule's run on an emptied engine; ``client`` is the hourly job's, without faults."""

    def __init__(self, engine: Engine, client: DynamoDBClient, tally: Counter[str]) -> None:
        engine.clear()
        self._engine = engine
        self._log: list[str] = []
        self._say = self._log.append
        self._simulation = Simulation(
            engine, insertion.tables.client, say=self._say, on_commit=self._note_commit
        )
        self._client = client
        self._marketplace = Marketplace()
        self._job = HourlyJob(client, METERING_TABLE_NAME, self._marketplace)
        self._tally = tally
        self._now_ms = START_MS
        self._requests = 0
        self._job_runs = 0
        self._clients: list[_Client] = []
        self._attempts: dict[Invocation, _Attempt] = {}
        self._open_attempts: list[Invocation] = []
        self._broken: list[AssertionError] = []
        self._companies: dict[Group | None, set[frozenset[int]]] = {}
        self._deployment = Deployment()
        self.answers: list[Answer | None] = []
        """The answers in their order; None where a process was killed."""
        self.transactions: list[tuple[str, str]] = []
        """Each that was tried: its token, and its content."""

    def run(self, schedule: Schedule) -> None:
        """Run it.

        Raises
        ------
        AssertionError
            If the API broke a promise; its notes tell what happened, step by step.
        """
        self._schedule = schedule
        self.ledger = Ledger(schedule.units, self._tally)
        self._tally["schedules"] += 1
        try:
            with self._simulation.running():
                for number, day in enumerate(schedule.days):
                    self._pass_time(day)
                    with self._deployed(day.deployment):
                        self._open(day, number)
                        self._move(day.moves)
                with self._deployed(dataclasses.replace(self._deployment, lacks=None, lacks_customer=None)):
                    self._settle()
                    self._replay_all()
                self._check_table()
                if self._job_runs:
                    self._check_metering()
        except AssertionError as error:
            self._tally["schedules that failed"] += 1
            error.add_note("\n".join([f"The schedule: {schedule!r}", "What happened:", *self._log]))
            raise
        finally:
            self._tally.update({f"fault: {fault.value}": n for fault, n in self._simulation.requests.items()})

    @property
    def faults(self) -> list[Fault]:
        """The faults injected, in their order."""
        return self._simulation.faults

    @property
    def statuses(self) -> list[int | None]:
        """The answers' statuses in their order; None where a process was killed."""
        return [answer.status if answer else None for answer in self.answers]

    @property
    def delays_ms(self) -> list[int]:
        """``create_timestamp`` of each stored record, in ms since the schedule's start."""
        return sorted(timestamp - START_MS for _, timestamp in self.ledger.items)

    # Steps of the schedule.

    @contextmanager
    def _deployed(self, deployment: Deployment) -> Iterator[None]:
        self._tally["changes of release"] += self._deployment.release is not deployment.release
        self._deployment = deployment
        for customer in {unit.customer for unit in self._schedule.units}:
            key = {"customerIdentifier": {"S": f"c{customer}"}}
            if customer == deployment.lacks_customer:
                self._client.delete_item(TableName=SUBSCRIBERS_TABLE_NAME, Key=key)
            elif deployment.lacks_customer is not None:
                self._client.put_item(TableName=SUBSCRIBERS_TABLE_NAME, Item=key)
        with deployed(deployment, len(self._schedule.units)):
            yield

    def _pass_time(self, day: Day) -> None:
        begins_ms = self._now_ms + day.gap_hours * _HOUR_MS
        if day.until.value is not None:
            of_requests, attribute, seconds = day.until.value
            times = [
                (int(row[attribute]) + seconds) * 1000 + day.offset_ms
                for row in self._engine.items(IDEMPOTENCY_TABLE_NAME)
                if ("#" in row["id"]) == of_requests
            ]
            begins_ms = min([time for time in times if time > self._now_ms], default=begins_ms)
        if begins_ms - self._now_ms >= _HOUR_MS:
            while self._simulation.in_flight:
                self._deliver(0)
        with self._deployed(self._deployment):
            for client in self._clients:
                may_resume = client.state is _State.UNANSWERED and not client.call.gives_up
                # A caller has that long to resume its request.
                if may_resume and client.is_too_late(begins_ms):
                    self._retry(client)
        self._now_ms = max(self._now_ms, begins_ms)
        self._say(f"{(self._now_ms - START_MS) / 1000} s after the start, {day.deployment!r}")

    def _open(self, day: Day, number: int) -> None:
        for client in self._clients:
            if client.state is _State.UNANSWERED:
                client.state = _State.ABANDONED if self._is_over_for(client) else _State.WAITING
                client.start_ms = max(client.start_ms, self._now_ms)
        payloads = self._schedule.payloads
        for position, call in enumerate(day.calls):
            payload = payloads[call.payload % len(payloads)]
            self._clients.append(
                _Client(
                    name=f"client {number}.{position}",
                    call=call,
                    units=self._units(payload),
                    flawed=payload.flawed,
                    key=None if call.key is None else f"key-{call.key}",
                    attempts_left=call.attempts,
                    start_ms=self._now_ms + call.at_ms,
                )
            )

    def _is_over_for(self, client: _Client) -> bool:
        return client.call.gives_up or client.is_too_late(self._now_ms)

    def _units(self, payload: Payload) -> tuple[int, ...]:
        """Return a payload's units, each id once."""
        units: dict[object, int] = {}
        for position, number in enumerate(payload.units):
            unit = number % len(self._schedule.units)
            units.setdefault(self.ledger.group(unit) or position, unit)
        return tuple(units.values())

    def _move(self, moves: Sequence[Move | JobRuns | TimeToLive]) -> None:
        left = deque(moves)
        for _ in range(_STEPS_LIMIT):
            move = left.popleft() if left else Move()
            if isinstance(move, TimeToLive):
                self._delete_rows(move.every)
                continue
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

    def _delete_rows(self, every: int) -> None:
        rows = self._engine.items(IDEMPOTENCY_TABLE_NAME)
        over = [row["id"] for row in rows if int(row["delete_after"]) * 1000 < self._now_ms]
        for row_id in sorted(over)[::every]:
            self._engine.delete(IDEMPOTENCY_TABLE_NAME, row_id)
            self._tally["rows deleted by time to live"] += 1
            self._say(f"time to live deletes {row_id[-15:]}")

    def _settle(self) -> None:
        """Retry all requests without a final answer, without faults; then let delayed requests arrive."""
        for client in self._clients:
            if client.state is _State.UNANSWERED and not self._is_over_for(client):
                self._retry(client)
        while self._simulation.in_flight:
            self._deliver(0)

    def _retry(self, client: _Client) -> None:
        """Retry a request once more, without faults, in a function's usual time: that is its final answer."""
        client.call = dataclasses.replace(client.call, time_ms=FUNCTION_TIME_MS)
        client.state = _State.WAITING
        client.attempts_left = 1
        client.start_ms = max(self._now_ms, client.start_ms)
        self._move(())
        assert client.state in (_State.DONE, _State.ABANDONED), f"{client.name} {client.state.value}"

    def _replay_all(self) -> None:
        """Repeat all acknowledged requests with a key: nothing is written, and the answers are the same."""
        for key, uses in self.ledger.uses.items():
            for use in uses:
                is_remembered = self.ledger.uses_at(key, self._now_ms) == [use]
                if not (use.answer and is_remembered and use.is_of_release(self._deployment)):
                    continue
                units = list(use.units.elements())
                random.shuffle(units)
                call = Call(prefer=True)
                client = _Client(f"replay of {key}", call, tuple(units), False, key, 1, self._now_ms)
                self._clients.append(client)
                self._send(client)
                self._move(())
                answer = self.answers[-1]
                assert answer
                assert answer.status == 200
                assert answer.is_replay

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
            self._tally["calls with an X-Amzn-RequestId"] += 1
        if client.key is not None:
            headers["Idempotency-Key"] = client.key
        if client.call.prefer:
            headers["Prefer"] = "return=representation"
        time_ms = client.start_ms + client.call.clock_ms
        key = client.key or (None if self._has_ids(client) else extended_request_id)
        units = Counter(client.units)
        sent = Sent(key, units, extended_request_id, time_ms, self._deployment)
        uses_before = len(self.ledger.uses.get(key, ())) if key else 0
        attempt = _Attempt(client, sent, client.key is not None, uses_before)
        if client.resume_until is None and not client.call.dry_run:
            hours = self._deployment.idempotency_hours
            lasts_s = self._deployment.transaction_id_days * _DAY_S if key is None else hours * 3600
            client.resume_until = time_ms // 1000 + lasts_s
        self._count_choices(attempt)
        entries = list(client.units)
        if client.call.reorders:
            random.shuffle(entries)
        self._say(f"{client.name} sends {entries} under {key}, id {extended_request_id}, at {time_ms}")

        def handle(context: FakeContext) -> Answer:
            api = Api()
            api.context = context
            handler, path, body = self._request(entries, flawed=client.flawed)
            event = proxy_event(
                "POST",
                path,
                body=as_json(body),
                headers=headers,
                query={"dry_run": ["true"]} if client.call.dry_run else {},
                request_id=request_id,
                extended_request_id=extended_request_id,
                request_time_ms=time_ms,
            )
            return api.call(handler, event)

        invocation = self._simulation.start(client.name, client.start_ms, client.call.time_ms, handle)
        self._attempts[invocation] = attempt
        self._open_attempts.append(invocation)
        self._take_answers()
        return invocation

    def _has_ids(self, client: _Client) -> bool:
        return all(self.ledger.group(unit) for unit in client.units)

    def _count_choices(self, attempt: _Attempt) -> None:
        sent, choices = attempt.sent, self._tally
        choices["dry runs"] += attempt.client.call.dry_run
        choices["requests without rows"] += sent.key is None
        choices["requests with a key"] += attempt.has_header
        choices["requests with entries with and without ids"] += (
            len({self.ledger.group(unit) is None for unit in sent.units}) > 1
        )
        company = frozenset(sent.units)
        for group in {self.ledger.group(unit) for unit in company} - {None}:
            companies = self._companies.setdefault(group, set())
            choices["ids sent again in other company"] += bool(companies) and company not in companies
            companies.add(company)
        if sent.key is not None and (uses := self.ledger.uses.get(sent.key)):
            seconds = sent.time_ms // 1000 - max(use.expires_at for use in uses)
            choices["keys used within 30 s of their expiry"] += abs(seconds) <= 30
            choices["other payloads under a key"] += uses[-1].units != sent.units

    def _request(self, units: Sequence[int], *, flawed: bool) -> tuple[LambdaHandler, str, dict[str, object]]:
        entries = []
        for unit in units:
            group = self.ledger.group(unit)
            entries.append((self.ledger.customer(unit), group and group[1], {f"d{unit}": 1, SUM: unit + 1}))
        if flawed:
            entries[-1][2][SUM] = -1
        if len(entries) == 1:
            customer, transaction_id, quantities = entries[0]
            path = f"/insertMeteringRecord/{customer}"
            return insert_metering_record.lambda_handler, path, usage(transaction_id, **quantities)
        sent = [buyer(customer, number, **quantities) for customer, number, quantities in entries]
        return insert_metering_records.lambda_handler, "/insertMeteringRecords", buyers(*sent)

    def _step(self, index: int, fault: Fault) -> None:
        self._simulation.step(index, fault)
        self._take_answers()

    def _deliver(self, index: int) -> None:
        invocation = self._simulation.deliver(index)
        self._say(f"a request of {invocation.name} arrived late: {len(invocation.committed)} in all")
        self._take_answers()

    def _run_job(self, move: JobRuns) -> None:
        self._tally["runs of the hourly job"] += 1
        self._job_runs += 1
        self._marketplace.failures = {f"c{move.customer}": move.failure.outcome}
        self._say(f"the hourly job finds {self._job.run()} records, {move!r}")
        self._marketplace.failures = {}
        self._check_outcomes()

    def _note_commit(self, invocation: Invocation, puts: Sequence[Put]) -> None:
        attempt = self._attempts[invocation]
        try:
            assert not attempt.client.call.dry_run, "a dry run wrote"
            self.ledger.commit(attempt.sent, puts)
        except AssertionError as error:
            # Raised here, it would be the function's own error.
            self._broken.append(error)

    # Checks.

    def _take_answers(self) -> None:
        if self._broken:
            raise self._broken[0]
        for invocation in list(self._open_attempts):
            if invocation.ended:
                self._open_attempts.remove(invocation)
                self._now_ms = max(self._now_ms, invocation.ended_ms)
                self._take_answer(invocation, self._attempts[invocation])

    def _take_answer(self, invocation: Invocation, attempt: _Attempt) -> None:
        client, answer = attempt.client, invocation.answer
        transactions = [token_and_transaction(request) for request in invocation.sent if not is_read(request)]
        self.transactions += transactions
        sent = set(transactions)
        assert len({token for token, _ in sent}) == len(sent), "two transactions under one token"
        client.start_ms = invocation.ended_ms
        client.attempts_left -= 1
        self._say(f"{client.name} is answered {answer and (answer.status, answer.body)}")
        self._tally[f"answered {answer and answer.status}"] += 1
        self.answers.append(answer)
        client.state = _State.DONE
        if answer is not None:
            assert invocation.ended_ms <= invocation.deadline_ms, "answered after the function's time"
        if client.call.dry_run:
            self._check_dry_run(answer, attempt)
        elif answer is None or answer.status == 503:
            if answer is not None:
                self._check_unavailable(answer, invocation, attempt)
            # As every 5xx says.
            client.key = attempt.sent.key
            client.state = _State.WAITING if client.attempts_left > 0 else _State.UNANSWERED
        elif answer.status == 200:
            self._check_success(answer, invocation, attempt)
        else:
            self._check_refusal(answer, invocation, attempt)

    def _check_dry_run(self, answer: Answer | None, attempt: _Attempt) -> None:
        if answer is None or answer.status in (503, 422, 409):
            return
        assert answer.status == 200, answer
        assert answer.body["dry_run"] is True
        self._check_duplicates(answer.body["duplicates"], attempt, None)
        assert answer.body["records"] <= len(attempt.sent.units)

    def _check_unavailable(self, answer: Answer, invocation: Invocation, attempt: _Attempt) -> None:
        sent = attempt.sent
        if answer.body["type"] == f"{_PROBLEM}unavailable":
            assert not invocation.committed
            return
        assert answer.body["type"] == f"{_PROBLEM}incomplete"
        assert answer.body.get("idempotency_key") == sent.key
        is_safe = attempt.has_header or sent.key is None
        assert ("Retry-After" in answer.headers) == is_safe, "Retry-After, though not safe as sent"
        uses = self._uses(attempt)
        candidates: list[Use | None] = [*uses] or [None]
        stored = max(
            sum(
                times
                for unit, times in sent.units.items()
                if self.ledger.is_stored(unit, times, use, sent.time_ms)
            )
            for use in candidates
        )
        assert self._told(invocation, sent) <= answer.body["inserted"] <= stored, "inserted is not what is in"
        if "resume_until" in answer.body:
            resume_until = int(datetime.fromisoformat(answer.body["resume_until"]).timestamp())
            assert resume_until <= max((use.resume_until for use in uses), default=resume_until), (
                "resume_until is after the use of the key expires"
            )
            client = attempt.client
            client.resume_until = min(resume_until, client.resume_until or resume_until)

    def _told(self, invocation: Invocation, sent: Sent) -> int:
        """Count the entries of which the function got to know that it stored them."""
        stored = Counter[int]()
        for puts in invocation.answered:
            for put in puts:
                for used in put["Item"].get("dimension_usage", {"L": ()})["L"]:
                    name = used["M"]["dimension"]["S"]
                    if name != SUM:
                        stored[int(name[1:])] += int(used["M"]["value"]["N"])
        assert stored <= sent.units
        return stored.total()

    def _uses(self, attempt: _Attempt) -> list[Use]:
        """Return the uses of its key that a request may belong to."""
        sent = attempt.sent
        if sent.key is None:
            return []
        # Of the uses that there were, only the last has its first row.
        possible = self.ledger.uses.get(sent.key, [])[max(0, attempt.uses_before - 1) :]
        live = self.ledger.uses_at(sent.key, sent.time_ms)
        return [use for use in possible if use in live and use.units == sent.units]

    def _check_success(self, answer: Answer, invocation: Invocation, attempt: _Attempt) -> None:
        sent = attempt.sent
        assert not attempt.client.flawed
        candidates: list[Use | None] = [None] if sent.key is None else [*self._uses(attempt)]
        complete = [
            use
            for use in candidates
            if all(self.ledger.is_stored(*each, use, sent.time_ms) for each in sent.units.items())
        ]
        if not complete:
            self._tally["lost"] += 1
            raise AssertionError("acknowledged, but not in the table")
        # In the second in which one use of a key expires, the next may have begun.
        for use in complete:
            try:
                self._check_use(answer, invocation, attempt, use)
            except AssertionError:
                if use is complete[-1]:
                    raise
            else:
                break
        self._tally["entries acknowledged"] += sent.units.total()
        self._tally["replays"] += answer.is_replay
        duplicates = answer.body.get("duplicates", [])
        self._tally["duplicates, of other usage"] += sum(each["differs"] for each in duplicates)
        self._tally["duplicates"] += len(duplicates)

    def _check_use(self, answer: Answer, invocation: Invocation, attempt: _Attempt, use: Use | None) -> None:
        """Compare an acknowledgement with one use of its key, or with what the request stored without one."""
        sent = attempt.sent
        by: Use | str = use or sent.request_id
        duplicates = answer.body.get("duplicates", [])
        assert answer.body.keys() <= {"duplicates", "records"}
        assert "duplicates" not in answer.body or duplicates
        assert ("records" in answer.body) == attempt.client.call.prefer
        self._check_duplicates(duplicates, attempt, by)
        assert answer.is_replay == (use is not None and not invocation.committed), "Idempotent-Replayed"
        if attempt.client.call.prefer:
            records = [(key["customerIdentifier"], key["create_timestamp"]) for key in answer.body["records"]]
            stored = use.records if use else self.ledger.by_request.get(sent.request_id, [])
            assert records == sorted(stored), "the keys returned are not the records'"
        if use is not None:
            known = use.answer or {"duplicates": duplicates}
            assert known["duplicates"] == duplicates, "a replay answers otherwise"
            use.answer = known

    def _check_duplicates(
        self, duplicates: Sequence[Mapping[str, Any]], attempt: _Attempt, by: Use | str | None
    ) -> None:
        """Compare with what is known; ``by`` has stored the other entries, if they are acknowledged."""
        sent = attempt.sent
        told = {(each["customerIdentifier"], each["transaction_id"]): each for each in duplicates}
        assert list(told) == sorted(told)
        assert len(told) == len(duplicates)
        for unit in sent.units:
            group = self.ledger.group(unit)
            if group is None:
                continue
            # What was known when the first answer was given may have expired before its replay.
            known = self.ledger.known.get(group, [])
            if duplicate := told.pop(group, None):
                (original,) = [one for one in known if one.record[1] == duplicate["create_timestamp"]]
                assert original.by is not by, "its own usage taken for a duplicate"
                earliest_ms = by.earliest_ms if isinstance(by, Use) else sent.time_ms
                assert by is None or original.expires_at >= earliest_ms // 1000, "forgotten, and left out"
                assert duplicate["differs"] == (original.unit != unit)
            elif by is not None:
                assert [one.unit for one in known if one.by == by] == [unit], "a duplicate that is not told"
        assert not told, "duplicates that were not sent"

    def _check_refusal(self, answer: Answer, invocation: Invocation, attempt: _Attempt) -> None:
        client, sent = attempt.client, attempt.sent
        problem = answer.body["type"].removeprefix(_PROBLEM)
        live = self.ledger.uses_at(sent.key, sent.time_ms) if sent.key is not None else []
        self._tally[f"answered {answer.status} {problem}"] += 1
        if problem == "idempotency-key-conflict":
            assert answer.status == 409
            others = [use for use in live if not use.is_of_release(sent.deployment)]
            assert others or len(live) > 1, "neither another release nor another use"
            assert "without an Idempotency-Key" in answer.body["detail"]
            if self._has_ids(client):
                # As the answer says.
                client.key = None
                client.attempts_left = 1
                client.state = _State.WAITING
            else:
                client.state = _State.ABANDONED
            return
        assert answer.status == 422, answer
        assert not invocation.committed, "a refused request wrote"
        assert not any(word in answer.body["detail"].lower() for word in ("new key", "another key"))
        if problem == "idempotency-key-reused":
            assert any(use.units != sent.units for use in live), "no other payload had the key"
            return
        codes = {error["code"] for error in answer.body["errors"]}
        if not client.flawed:
            assert codes <= {"unknown_dimension", "unknown_customer"}
            assert self.ledger.is_refused(sent)
            began = [use for use in self._uses(attempt) if use.is_of_release(sent.deployment)]
            assert not (attempt.has_header and began), "a half-written request is stranded"

    def _check_table(self) -> None:
        stored = {}
        sums: Counter[tuple[str, str]] = Counter()
        for item in self._engine.items(METERING_TABLE_NAME):
            assert item["metering_pending"] == "true" if "metering_pending" in item else self._job_runs
            customer = item["customerIdentifier"]
            quantities = {used["dimension"]: int(used["value"]) for used in item["dimension_usage"]}
            stored[customer, int(item["create_timestamp"])] = quantities
            sums.update({(customer, name): quantity for name, quantity in quantities.items()})
        self._tally["records checked"] += len(stored)
        assert stored == self.ledger.items, "a record was changed"
        expected: Counter[tuple[str, str]] = Counter()
        for unit, times in self.ledger.times.items():
            expected[self.ledger.customer(unit), f"d{unit}"] += times
            expected[self.ledger.customer(unit), SUM] += times * (unit + 1)
        lost, doubled = expected - sums, sums - expected
        self._tally["lost"] += lost.total()
        self._tally["doubled"] += doubled.total()
        assert lost == doubled == Counter(), f"lost: {dict(lost)}, doubled: {dict(doubled)}"

    def _check_metering(self) -> None:
        while self._job.run():
            pass
        acknowledged: Counter[tuple[str, str]] = Counter()
        for (customer, _), quantities in self.ledger.items.items():
            acknowledged.update({(customer, name): quantity for name, quantity in quantities.items()})
        assert self._marketplace.metered + self._check_outcomes() == acknowledged
        keys = Counter((customer, str(timestamp)) for customer, timestamp in self.ledger.items)
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
