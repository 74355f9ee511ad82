"""Runs a schedule, and compares each answer, and the table, with what was committed."""

import dataclasses
import random
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers import insert_metering_record, insert_metering_records
from metering_handlers.contract.queries import RecordStatus
from metering_handlers.http.resolver import LambdaHandler
from metering_handlers.inserting import canonical_form, division, insertion, request_state
from metering_handlers.inserting.subscribers import Subscribers
from metering_handlers.listing.outcomes import outcome_of
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.faults.engine import SUBSCRIBERS_TABLE_NAME, Put
from tests.unit.faults.faults import Fault
from tests.unit.faults.ledger import SUM, Ledger, Quantities, Sent, Use, key_of, quantities_of
from tests.unit.faults.schedules import (
    GRACE_S,
    Call,
    Day,
    Deployment,
    JobRuns,
    Move,
    Payload,
    Schedule,
    TimeToLive,
)
from tests.unit.faults.simulation import Invocation, Simulation
from tests.unit.lambda_calls import FUNCTION_TIME_MS, Answer, Body, buyer, buyers, usage
from tests.unit.proxy_event import proxy_event
from tools.local_cloud.hourly_job import HourlyJob, Marketplace, MeteringError

START_MS = 1_795_446_956_551
_HOUR_MS = 3_600_000
_PROBLEM = "urn:marketplace-metering:problem:"
_STEPS_LIMIT = 5_000


@dataclass(eq=False)
class _Client:
    name: str
    call: Call
    units: list[int]
    flawed: bool
    key: str | None
    attempts_left: int
    start_ms: int
    resume_until: int | None = None
    """The least that it was told, or could know by the time it first sent the request, in s."""
    state: Literal["waiting", "under way", "unanswered", "over"] = "waiting"

    def try_once_more(self) -> None:
        self.attempts_left, self.state = 1, "waiting"

    def may_resume(self, now_ms: int) -> bool:
        """Return whether it has no final answer, and may still get one."""
        is_too_late = self.resume_until is not None and now_ms > self.resume_until * 1000
        return self.state == "unanswered" and not self.call.gives_up and not is_too_late


class Run:
    """One schedule's run on emptied tables; ``client`` is the hourly job's, without faults."""

    def __init__(self, client: DynamoDBClient, tally: Counter[str], schedule: Schedule) -> None:
        self._log: list[str] = []
        self._say = self._log.append
        self._simulation = Simulation(insertion.tables.client, say=self._say, on_commit=self._note_commit)
        self._client = client
        self._marketplace = Marketplace()
        self._job = HourlyJob(client, METERING_TABLE_NAME, self._marketplace)
        self._tally = tally
        self._schedule = schedule
        self._now_ms = START_MS
        self._requests = 0
        self._clients: list[_Client] = []
        self._open: dict[Invocation, _Client] = {}
        self._broken: list[AssertionError] = []
        self._companies: defaultdict[object, set[frozenset[int]]] = defaultdict(set)
        self._deployment = Deployment()
        self.ledger = Ledger(schedule.units, tally)
        self.answers: list[Answer | None] = []
        """The answers in their order; None where a process was killed."""
        self.transactions: list[tuple[str, str]] = []
        """Each that was tried: its token, and its content."""

    def run(self) -> None:
        """Run it; raises AssertionError if the API broke a promise, with what happened step by step."""
        self._tally["schedules"] += 1
        # As Hypothesis does: the same schedule is always the same run.
        random.seed(0)
        try:
            with self._simulation.running():
                for number, day in enumerate(self._schedule.days):
                    self._pass_time(day)
                    with self._deployed(day.deployment):
                        self._begin(day, number)
                        self._move(day.moves)
                with self._deployed(dataclasses.replace(self._deployment, lacks=None, lacks_customer=None)):
                    self._settle()
                    self._replay_all()
                self._check_table()
        except AssertionError as error:
            self._tally["schedules that failed"] += 1
            for word in ("lost", "doubled"):
                self._tally[word] += word in str(error)
            error.add_note("\n".join([f"The schedule: {self._schedule!r}", "What happened:", *self._log]))
            raise
        finally:
            self._tally.update(f"fault: {fault.value}" for fault in self._simulation.faults)

    @property
    def faults(self) -> list[Fault]:
        """The faults injected, in their order."""
        return [fault for fault in self._simulation.faults if fault is not Fault.NONE]

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
        """Run the functions as they were deployed, by a release and its configuration."""
        self._tally["changes of release"] += self._deployment.release is not deployment.release
        self._deployment = deployment
        lacks, lacks_customer = deployment.lacks, deployment.lacks_customer
        for customer in {unit.customer for unit in self._schedule.units}:
            item = {"customerIdentifier": {"S": f"c{customer}"}}
            if customer == lacks_customer:
                self._client.delete_item(TableName=SUBSCRIBERS_TABLE_NAME, Key=item)
            elif lacks_customer is not None:
                self._client.put_item(TableName=SUBSCRIBERS_TABLE_NAME, Item=item)
        dimensions = {SUM, *(f"d{unit}" for unit in range(len(self._schedule.units)) if unit != lacks)}
        tables = dataclasses.replace(
            insertion.tables,
            idempotency_hours=deployment.idempotency_hours,
            transaction_id_days=deployment.transaction_id_days,
        )
        subscribers = Subscribers(tables.client, SUBSCRIBERS_TABLE_NAME)
        rules = dataclasses.replace(
            insertion.rules,
            dimensions=None if lacks is None else frozenset(dimensions),
            subscribers=None if lacks_customer is None else subscribers,
        )
        actions, division_version, digest_version = deployment.release.value
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(division, "MAX_TRANSACTION_ACTIONS", actions)
            patched.setattr(request_state, "DIVISION_VERSION", division_version)
            patched.setattr(canonical_form, "DIGEST_VERSION", digest_version)
            patched.setattr(insertion, "tables", tables)
            patched.setattr(insertion, "rules", rules)
            yield

    def _items(self, table_name: str) -> list[dict[str, Any]]:
        return list(self._client.scan(TableName=table_name)["Items"])

    def _pass_time(self, day: Day) -> None:
        begins_ms = self._now_ms + day.gap_hours * _HOUR_MS
        if day.until.value is not None:
            of_requests, attribute, seconds = day.until.value
            times = [
                (int(row[attribute]["N"]) + seconds) * 1000 + day.offset_ms
                for row in self._items(IDEMPOTENCY_TABLE_NAME)
                if ("#" in row["id"]["S"]) == of_requests
            ]
            begins_ms = min([time for time in times if time > self._now_ms], default=begins_ms)
        if begins_ms - self._now_ms >= _HOUR_MS:
            self._deliver_all()
        with self._deployed(self._deployment):
            for client in self._clients:
                # A caller has that long to resume its request.
                if client.may_resume(self._now_ms) and not client.may_resume(begins_ms):
                    self._retry(client)
        self._now_ms = max(self._now_ms, begins_ms)
        self._say(f"{(self._now_ms - START_MS) / 1000} s after the start, {day.deployment!r}")

    def _begin(self, day: Day, number: int) -> None:
        for client in self._clients:
            if client.state == "unanswered":
                client.state = "waiting" if client.may_resume(self._now_ms) else "over"
                client.start_ms = max(client.start_ms, self._now_ms)
        for position, call in enumerate(day.calls):
            payload = self._schedule.payloads[call.payload % len(self._schedule.payloads)]
            key = None if call.key is None else f"key-{call.key}"
            name, start_ms = f"client {number}.{position}", self._now_ms + call.at_ms
            units = self._units(payload)
            self._clients.append(_Client(name, call, units, payload.flawed, key, call.attempts, start_ms))

    def _units(self, payload: Payload) -> list[int]:
        """Return a payload's units, each id once."""
        units: dict[object, int] = {}
        for position, number in enumerate(payload.units):
            unit = number % len(self._schedule.units)
            units.setdefault(self.ledger.group(unit) or position, unit)
        return list(units.values())

    def _move(self, moves: Sequence[Move | JobRuns | TimeToLive]) -> None:
        left = deque(moves)
        for _ in range(_STEPS_LIMIT):
            move = left.popleft() if left else Move()
            if isinstance(move, TimeToLive):
                self._delete_rows(move.every)
                continue
            if isinstance(move, JobRuns):
                self._run_job(move)
                continue
            waiting = [client for client in self._clients if client.state == "waiting"]
            running = self._simulation.waiting
            # Without further moves, delayed requests do not arrive.
            choices = running + len(waiting) + (self._simulation.in_flight if left else 0)
            if choices:
                what = move.what % choices
                if what < running:
                    self._simulation.step(what, move.fault)
                elif what < running + len(waiting):
                    self._send(waiting[what - running])
                else:
                    self._simulation.deliver(what - running - len(waiting))
                self._take_answers()
            elif not left:
                return
        raise AssertionError("The functions do not come to an end.")

    def _delete_rows(self, every: int) -> None:
        over = [
            row["id"]["S"]
            for row in self._items(IDEMPOTENCY_TABLE_NAME)
            if int(row["delete_after"]["N"]) * 1000 < self._now_ms
        ]
        for row_id in sorted(over)[::every]:
            self._client.delete_item(TableName=IDEMPOTENCY_TABLE_NAME, Key={"id": {"S": row_id}})
            self._tally["rows deleted by time to live"] += 1
            self._say(f"time to live deletes {row_id[-15:]}")

    def _run_job(self, move: JobRuns) -> None:
        self._tally["runs of the hourly job"] += 1
        failure = move.failure.value
        outcome = failure if isinstance(failure, MeteringError) else dict(failure)
        self._marketplace.failures = {f"c{move.customer}": outcome}
        self._say(f"the hourly job finds {self._job.run()} records, {move!r}")
        self._marketplace.failures = {}
        self._check_outcomes()

    def _deliver_all(self) -> None:
        while self._simulation.in_flight:
            self._simulation.deliver(0)
            self._take_answers()

    def _settle(self) -> None:
        """Retry all requests without a final answer, without faults; then let delayed requests arrive."""
        for client in self._clients:
            if client.may_resume(self._now_ms):
                self._retry(client)
        self._deliver_all()

    def _retry(self, client: _Client) -> None:
        """Retry a request once more, without faults, in a function's usual time: that is its final answer."""
        client.call = dataclasses.replace(client.call, time_ms=FUNCTION_TIME_MS)
        client.start_ms = max(self._now_ms, client.start_ms)
        client.try_once_more()
        self._move(())
        assert client.state == "over", f"lost: {client.name} gets no answer"

    def _replay_all(self) -> None:
        """Repeat all acknowledged requests with a key: nothing is written, and the answers are the same."""
        for key, uses in list(self.ledger.uses.items()):
            for use in uses:
                is_remembered = self.ledger.uses_at(key, self._now_ms) == [use]
                if use.duplicates is None or not is_remembered or use.release is not self._deployment.release:
                    continue
                call, units = Call(prefer=True, reorders=True), list(use.units.elements())
                self._send(_Client(f"replay of {key}", call, units, False, key, 1, self._now_ms))
                self._move(())
                answer = self.answers[-1]
                assert answer is not None
                assert answer.is_replay

    # One step.

    def _send(self, client: _Client) -> None:
        client.state = "under way"
        call, has_ids = client.call, all(map(self.ledger.group, client.units))
        self._requests += 1
        # As AWS does: the first is API Gateway's own, the second the client's, if it sends one.
        extended_request_id = f"{self._requests:015d}="
        request_id = f"{self._requests:08d}-0000-4000-8000-000000000000"
        headers = {}
        if call.x_amzn_request_id is not None:
            request_id = headers["X-Amzn-RequestId"] = f"chosen-{call.x_amzn_request_id}"
        if client.key is not None:
            headers["Idempotency-Key"] = client.key
        if call.prefer:
            headers["Prefer"] = "return=representation"
        sent = Sent(
            call=call,
            flawed=client.flawed,
            key=client.key or (None if has_ids else extended_request_id),
            units=Counter(client.units),
            request_id=extended_request_id,
            time_ms=client.start_ms + call.clock_ms,
            deployment=self._deployment,
            uses_before=len(self.ledger.uses[client.key]) if client.key else 0,
        )
        if client.resume_until is None and not call.dry_run:
            hours = self._deployment.idempotency_hours
            lasts_h = self._deployment.transaction_id_days * 24 if sent.key is None else hours
            client.resume_until = sent.time_ms // 1000 + lasts_h * 3600
        self._count_choices(sent)
        if call.reorders:
            random.shuffle(client.units)
        self._say(
            f"{client.name} sends {client.units} as {extended_request_id}, {headers}, at {sent.time_ms}"
        )
        handler, path, body = self._call_of(client)
        event = proxy_event(
            "POST",
            path,
            body=body,
            headers=headers,
            query={"dry_run": "true"} if call.dry_run else {},
            request_id=request_id,
            extended_request_id=extended_request_id,
            request_time_ms=sent.time_ms,
        )
        invocation = Invocation(sent, client.name, client.start_ms, call.time_ms)
        self._open[invocation] = client
        self._simulation.start(invocation, handler, event)

    def _call_of(self, client: _Client) -> tuple[LambdaHandler, str, Body]:
        """Return the function to call, its path, and a body."""
        entries = []
        for unit in client.units:
            group = self.ledger.group(unit)
            entries.append((self.ledger.customer(unit), group and group[1], {f"d{unit}": 1, SUM: unit + 1}))
        customer, transaction_id, last = entries[-1]
        if client.flawed:
            last[SUM] = -1
        if len(entries) == 1:
            path = f"/insertMeteringRecord/{customer}"
            return insert_metering_record.lambda_handler, path, usage(transaction_id, **last)
        body = buyers(*(buyer(name, number, **quantities) for name, number, quantities in entries))
        return insert_metering_records.lambda_handler, "/insertMeteringRecords", body

    def _count_choices(self, sent: Sent) -> None:
        choices = self._tally
        choices["dry runs"] += sent.call.dry_run
        choices["calls with an X-Amzn-RequestId"] += sent.call.x_amzn_request_id is not None
        choices["requests without rows"] += sent.key is None
        groups = {self.ledger.group(unit) for unit in sent.units}
        choices["requests with entries with and without ids"] += None in groups and len(groups) > 1
        company = frozenset(sent.units)
        for companies in (self._companies[group] for group in groups - {None}):
            choices["ids sent again in other company"] += bool(companies - {company})
            companies.add(company)
        if sent.key is not None and (uses := self.ledger.uses[sent.key]):
            seconds = sent.time_ms // 1000 - max(use.expires_at for use in uses)
            choices["keys used within 30 s of their expiry"] += abs(seconds) <= 30
            choices["other payloads under a key"] += uses[-1].units != sent.units

    def _note_commit(self, invocation: Invocation, puts: Sequence[Put]) -> None:
        try:
            assert not invocation.sent.call.dry_run, "a dry run wrote"
            self.ledger.commit(invocation.sent, puts)
        except AssertionError as error:
            # Raised here, it would be the function's own error.
            self._broken.append(error)

    # Checks.

    def _take_answers(self) -> None:
        if self._broken:
            raise self._broken[0]
        for invocation in [each for each in self._open if each.ended]:
            self._now_ms = max(self._now_ms, invocation.ended_ms)
            self._take_answer(invocation, self._open.pop(invocation))

    def _take_answer(self, invocation: Invocation, client: _Client) -> None:
        sent, answer = invocation.sent, invocation.answer
        transactions = [(each.token, each.content) for each in invocation.transactions]
        self.transactions += transactions
        assert len(dict(transactions)) == len(set(transactions)), "two transactions under one token"
        client.start_ms = invocation.ended_ms
        client.attempts_left -= 1
        self._say(f"{client.name} is answered {answer and (answer.status, answer.body)}")
        self._tally[f"answered {answer and answer.status}"] += 1
        self.answers.append(answer)
        client.state = "over"
        if answer is not None:
            assert invocation.ended_ms <= invocation.deadline_ms, "answered after the function's time"
        if sent.call.dry_run:
            if answer is not None and answer.status not in (503, 422, 409):
                assert (answer.status, answer.body["dry_run"]) == (200, True)
                self._check_duplicates(answer.body["duplicates"], sent, None)
                assert answer.body["records"] <= len(sent.units)
        elif answer is None or answer.status == 503:
            if answer is not None:
                self._check_unavailable(answer, invocation, client)
            # As every 5xx says.
            client.key = sent.key
            client.state = "waiting" if client.attempts_left > 0 else "unanswered"
        elif answer.status == 200:
            self._check_success(answer, invocation)
        else:
            self._check_refusal(answer, invocation)
            if answer.status == 409 and all(map(self.ledger.group, client.units)):
                # As the answer says.
                client.key = None
                client.try_once_more()

    def _check_unavailable(self, answer: Answer, invocation: Invocation, client: _Client) -> None:
        sent, body = invocation.sent, answer.body
        if body["type"] == f"{_PROBLEM}unavailable":
            assert not invocation.committed
            return
        assert body["type"] == f"{_PROBLEM}incomplete"
        assert body.get("idempotency_key") == sent.key
        is_safe = sent.has_header or sent.key is None
        assert ("Retry-After" in answer.headers) == is_safe, "Retry-After, though not safe as sent"
        uses = self.ledger.uses_of(sent)
        stored = max(map(self.ledger.stored, uses or [sent.new_use()]))
        told = [put["Item"] for puts in invocation.told for put in puts if "dimension_usage" in put["Item"]]
        quantities = sum((quantities_of(item) for item in told), Counter[str]())
        del quantities[SUM]
        assert quantities.total() <= body["inserted"] <= stored, "inserted is not what is in"
        if "resume_until" in body:
            resume_until = int(datetime.fromisoformat(body["resume_until"]).timestamp())
            if sent.key is not None and uses:
                expires_at = max(use.expires_at for use in uses)
                assert resume_until <= expires_at - GRACE_S, (
                    "resume_until is after the use of the key expires"
                )
            client.resume_until = min(resume_until, client.resume_until or resume_until)

    def _check_success(self, answer: Answer, invocation: Invocation) -> None:
        sent = invocation.sent
        assert not sent.flawed
        uses = self.ledger.uses_of(sent)
        complete = [use for use in uses if self.ledger.stored(use) == sent.units.total()]
        assert complete, "lost: acknowledged, but not in the table"
        # In the second in which one use of a key expires, the next may have begun.
        for use in complete:
            try:
                self._check_use(answer, invocation, use)
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

    def _check_use(self, answer: Answer, invocation: Invocation, use: Use) -> None:
        """Compare an acknowledgement with one use of its key."""
        sent, body = invocation.sent, answer.body
        duplicates = body.get("duplicates", [])
        assert body.keys() <= {"duplicates", "records"}
        assert "duplicates" not in body or duplicates
        self._check_duplicates(duplicates, sent, use)
        is_replay = sent.key is not None and not invocation.committed
        assert answer.is_replay == is_replay, "Idempotent-Replayed"
        assert ("records" in body) == sent.call.prefer
        if sent.call.prefer:
            records = [(key["customerIdentifier"], key["create_timestamp"]) for key in body["records"]]
            assert records == sorted(use.records), "the keys returned are not the records'"
        assert use.duplicates in (None, duplicates), "a replay answers otherwise"
        use.duplicates = duplicates

    def _check_duplicates(self, duplicates: Sequence[Mapping[str, Any]], sent: Sent, use: Use | None) -> None:
        """Compare with what is known; ``use`` has stored the other entries, if they are acknowledged."""
        told = {(each["customerIdentifier"], each["transaction_id"]): each for each in duplicates}
        assert list(told) == sorted(told)
        assert len(told) == len(duplicates)
        for unit in sent.units:
            group = self.ledger.group(unit)
            if group is None:
                continue
            # What was known when the first answer was given may have expired before its replay.
            known = self.ledger.known[group]
            if duplicate := told.pop(group, None):
                (original,) = [one for one in known if one.record[1] == duplicate["create_timestamp"]]
                assert original.by is not use, "its own usage taken for a duplicate"
                assert use is None or original.expires_at >= use.earliest_ms // 1000, (
                    "forgotten, and left out"
                )
                assert duplicate["differs"] == (original.unit != unit)
            elif use is not None:
                assert [one.unit for one in known if one.by is use] == [unit], "a duplicate that is not told"
        assert not told, "duplicates that were not sent"

    def _check_refusal(self, answer: Answer, invocation: Invocation) -> None:
        sent = invocation.sent
        problem: str = answer.body["type"].removeprefix(_PROBLEM)
        live = self.ledger.uses_at(sent.key, sent.time_ms)
        self._tally[f"answered {answer.status} {problem}"] += 1
        if problem == "idempotency-key-conflict":
            assert answer.status == 409
            is_of_other = any(use.release is not sent.deployment.release for use in live)
            assert is_of_other or len(live) > 1, "neither another release nor another use"
            assert "without an Idempotency-Key" in answer.body["detail"]
            return
        assert answer.status == 422, answer
        assert not invocation.committed, "a refused request wrote"
        assert not any(word in answer.body["detail"].lower() for word in ("new key", "another key"))
        if problem == "idempotency-key-reused":
            assert any(use.units != sent.units for use in live), "no other payload had the key"
        elif not sent.flawed:
            assert {error["code"] for error in answer.body["errors"]} <= {
                "unknown_dimension",
                "unknown_customer",
            }
            assert self.ledger.is_refused(sent)
            began = [use for use in self.ledger.uses_of(sent) if use.release is sent.deployment.release]
            assert not (sent.has_header and began), "a half-written request is stranded"

    def _check_table(self) -> None:
        """Bill what is left if the job has run; compare the table and the bill with what was committed."""
        while self._job.marked and self._job.run():
            pass
        listed = self._check_outcomes()
        unbilled = listed[RecordStatus.FAILED if self._job.marked else RecordStatus.PENDING]
        stored, expected = self._marketplace.metered + unbilled, self.ledger.quantities(self.ledger.times)
        assert not expected - stored, f"lost: {expected - stored}"
        assert not stored - expected, f"doubled: {stored - expected}"
        items = {key_of(item): quantities_of(item) for item in self._items(METERING_TABLE_NAME)}
        assert items == self.ledger.items, "lost: a record was changed"
        keys = Counter((customer, str(timestamp)) for customer, timestamp in items)
        assert self._job.marked in (keys, Counter()), "the job does not mark each record once"
        self._tally["records checked"] += len(items)

    def _check_outcomes(self) -> dict[RecordStatus, Quantities]:
        """Compare usage listed as billed with what was billed; return all that is listed."""
        listed = {status: Quantities() for status in RecordStatus}
        for item in self._items(METERING_TABLE_NAME):
            for used in outcome_of(item).dimensions:
                assert isinstance(used.dimension, str)
                assert isinstance(used.value, int)
                listed[used.status][item["customerIdentifier"]["S"], used.dimension] += used.value
        assert listed[RecordStatus.METERED] == self._marketplace.metered, "not what was billed"
        return listed
