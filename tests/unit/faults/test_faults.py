"""The faults one by one: what a caller sees of each. That all usage is in once is checked in every run."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from tests.unit.faults.faults import Fault
from tests.unit.faults.run import START_MS, Run
from tests.unit.faults.schedules import (
    NOBODY,
    Call,
    Day,
    Deployment,
    JobRuns,
    Move,
    Payload,
    Release,
    Schedule,
    TimeToLive,
    Unit,
    Until,
)

RunSchedule = Callable[[Schedule], Run]

# In chunks of four actions and their request's row: three customers fill one each, the fourth has the first.
UNITS = (
    *(Unit(customer, number) for customer in range(3) for number in (None, 0, 1, 2)),
    Unit(3, 0),
)
ALL = Payload(tuple(range(13)))
REVERSED = Payload(tuple(reversed(range(13))))
OTHER = Payload((0, 4))
# With all ids, in chunks of five actions: each of these customers has one.
WITH_IDS = Payload((1, 2, 3, 5, 6, 7, 9, 10, 11))
SEND = Move()
"""The first move, when there is nothing else to do."""
KILLED = Move(0, Fault.KILLED_BEFORE)
CUT_OFF = Day((Call(key=0),), (SEND, Move(), KILLED))
"""A request whose first chunk is stored, and whose process is killed at the second."""
GIVEN_UP = Day((Call(key=0, gives_up=True),), CUT_OFF.moves)
"""The same, and its caller does not resume it."""
OTHER_RELEASES = [Release.OTHER_DIVISION, Release.OTHER_DIGEST]


def schedule(*days: Day, payloads: Iterable[Payload] = (ALL, OTHER)) -> Schedule:
    return Schedule(UNITS, tuple(payloads), days)


def one_day(*moves: Move | JobRuns, calls: tuple[Call, ...] = (Call(key=0),)) -> Schedule:
    return schedule(Day(calls, moves), payloads=(ALL, OTHER, WITH_IDS))


def times(run: Run, payload: Payload) -> set[int]:
    """How often each unit of a payload is in the table."""
    return {run.ledger.times[unit] for unit in payload.units}


def bodies(run: Run) -> list[Any]:
    """What was answered, where no process was killed."""
    return [answer.body for answer in run.answers if answer]


DEADLY = [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.KILLED_LATE]
NEED_AN_OCCASION = [Fault.SOME_REASONS, Fault.UNPROCESSED_KEYS]
PASSING = [fault for fault in Fault if fault not in (Fault.NONE, *DEADLY, *NEED_AN_OCCASION)]
OF_TRANSACTIONS = [Fault.TRANSACTION_THROTTLED, Fault.CONFLICT, Fault.IN_PROGRESS]
PASSING_READS = [*(fault for fault in PASSING if fault not in OF_TRANSACTIONS), Fault.UNPROCESSED_KEYS]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("chunk", range(4))
def test_what_passes_is_retried_within_the_call(run_schedule: RunSchedule, fault: Fault, chunk: int) -> None:
    run = run_schedule(one_day(SEND, *[Move()] * chunk, Move(0, fault)))

    assert run.faults == [fault]
    assert run.statuses == [200, 200], "the call, and its replay"
    # What is not known to be cancelled is tried again under its token; the replay tries the first chunk.
    assert len(set(run.transactions)) == 4 + 1 + (fault in (Fault.TRANSACTION_THROTTLED, Fault.CONFLICT))


@pytest.mark.parametrize("fault", PASSING_READS)
@pytest.mark.parametrize("read", range(2), ids=["after a cancellation", "before a write"])
def test_what_passes_is_retried_when_rows_are_read(
    run_schedule: RunSchedule, fault: Fault, read: int
) -> None:
    stored = Day((Call(),))
    again = Day((Call(),), (SEND, Move(), *[Move(0)] * read, Move(0, fault)))

    run = run_schedule(schedule(stored, again, payloads=(WITH_IDS,)))

    assert run.faults == [fault]
    assert run.statuses == [200, 200]
    assert times(run, WITH_IDS) == {1}


@pytest.mark.parametrize("fault", DEADLY)
@pytest.mark.parametrize("chunk", range(3))
@pytest.mark.parametrize(
    ("call", "replays"),
    [(Call(0, key=0, attempts=2), 1), (Call(0, attempts=2), 1), (Call(2, attempts=2), 0)],
    ids=["with a key", "with the request id as key", "with ids alone"],
)
def test_a_killed_process_is_made_good_by_a_retry(
    run_schedule: RunSchedule, fault: Fault, chunk: int, call: Call, replays: int
) -> None:
    run = run_schedule(one_day(SEND, *[Move()] * chunk, Move(0, fault), calls=(call,)))

    assert run.faults == [fault]
    assert run.statuses == [None, 200, *[200] * replays]


@pytest.mark.parametrize("chunk", range(4))
def test_another_payload_under_a_key_is_refused_at_any_chunk(run_schedule: RunSchedule, chunk: int) -> None:
    calls = (Call(payload=0, key=0), Call(payload=1, key=0))

    run = run_schedule(one_day(SEND, Move(), *[Move()] * chunk, KILLED, Move(), calls=calls))

    assert sorted(status for status in run.statuses if status) in ([200, 200, 422], [200, 422])
    assert times(run, ALL) == {1}


def test_a_payload_that_comes_late_does_not_join_its_keys_owner(run_schedule: RunSchedule) -> None:
    calls = (Call(payload=0, key=0), Call(payload=1, key=0))
    late = (SEND, Move(0, Fault.KILLED_LATE), SEND, Move(), Move())

    run = run_schedule(one_day(*late, Move(), calls=calls))

    assert run.statuses == [None, 200, 422, 200]


@pytest.mark.parametrize("time_ms", [9_000, 5_100])
def test_a_call_out_of_time_is_resumed_with_the_key_it_hands_back(
    run_schedule: RunSchedule, time_ms: int
) -> None:
    calls = (Call(key=None, time_ms=time_ms),)

    run = run_schedule(one_day(SEND, Move(), *[Move(0, Fault.ANSWER_LOST)] * 4, calls=calls))

    assert run.statuses == [503, 200, 200]


def test_a_throttled_call_gives_up_in_time(run_schedule: RunSchedule) -> None:
    run = run_schedule(one_day(SEND, *[Move(0, Fault.THROTTLED)] * 200))

    assert run.statuses == [503, 200, 200]
    assert len(run.faults) < 200


@pytest.mark.parametrize("keys", [[0] * 32, list(range(32))], ids=["one key", "a key each"])
def test_32_calls_of_the_same_millisecond_for_the_same_customers(
    run_schedule: RunSchedule, keys: list[int]
) -> None:
    send_all = [Move(number) for number in range(32)]
    in_turns = [Move(number % 32) for number in range(320)]
    calls = tuple(Call(payload=1, key=key, prefer=True) for key in keys)

    run = run_schedule(one_day(*send_all, *in_turns, calls=calls))

    replays = len(set(keys))
    assert run.statuses == [200] * (32 + replays)
    assert run.delays_ms[-1] < 2_000


# Timestamps.


@pytest.mark.parametrize(
    "clocks_ms",
    [(0, -100), tuple(range(-1_000, 1_000, 67)), (0,) * 30],
    ids=["two, 100 ms apart", "30, a second apart", "30 at once"],
)
def test_overlapping_requests_of_one_customer_stay_near_their_times(
    run_schedule: RunSchedule, clocks_ms: tuple[int, ...]
) -> None:
    size = 24 if len(clocks_ms) == 2 else 8
    units = tuple(Unit(0, number) for number in range(size * len(clocks_ms)))
    payloads = [Payload(tuple(range(start, start + size))) for start in range(0, len(units), size)]
    calls = tuple(Call(number, number, clock_ms=clock_ms) for number, clock_ms in enumerate(clocks_ms))
    together = [Move(number) for number in range(len(calls))]
    in_turns = [Move(number) for number in range(600)]

    run = run_schedule(Schedule(units, tuple(payloads), (Day(calls, (*together, *in_turns)),)))

    assert set(run.statuses) == {200}
    assert run.delays_ms[-1] - max(clocks_ms) < 1_000


def test_a_taken_slot_moves_only_its_record(run_schedule: RunSchedule) -> None:
    taken = Call(payload=1)
    both = Call(payload=0)
    payloads = (Payload((0, 4)), Payload((0,)))

    run = run_schedule(schedule(Day((taken, both), (SEND, Move(1), Move(0))), payloads=payloads))

    moved, *others = sorted(run.ledger.items, key=lambda key: -key[1])
    assert moved[0] == "c0"
    assert sorted(others) == [("c0", START_MS), ("c1", START_MS)]
    assert 0 < moved[1] - START_MS <= 50


def test_a_request_whose_slots_are_taken_for_10_s_ends_as_503(
    run_schedule: RunSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Six records of one customer and millisecond, of which five have room.
    monkeypatch.setattr(random, "randint", lambda *_: 2_500)
    calls = tuple(Call(payload=1, key=number) for number in range(6))
    send_all = tuple(Move(number) for number in range(6))

    run = run_schedule(schedule(Day(calls, send_all), payloads=(ALL, Payload((0,)))))

    assert run.statuses.count(503) == 1
    assert [delay for delay in run.delays_ms if delay % 2_500 == 0] == [0, 2_500, 5_000, 7_500, 10_000]
    assert len(run.delays_ms) == 6, "the resuming request has a time of its own"


def test_what_is_resumed_bears_the_time_of_the_resuming_request(run_schedule: RunSchedule) -> None:
    resumed = Day((Call(key=0),), gap_hours=23)

    run = run_schedule(schedule(CUT_OFF, resumed))

    first, *later = run.delays_ms
    assert first == 0
    assert len(later) == 3
    assert min(later) >= 23 * 3_600_000


# Retries that are not what was sent.


def test_a_retry_in_other_company_is_stored_once(run_schedule: RunSchedule) -> None:
    # Of the first, one chunk of two is stored; what was sent is collected again, with what is new.
    payloads = (Payload((1, 2, 3, 5, 6)), Payload((7, 6, 5, 1)), Payload((10, 3, 2, 0)))
    first = Call(0, gives_up=True)

    run = run_schedule(
        schedule(Day((first,), (SEND, Move(), KILLED)), Day((Call(1), Call(2))), payloads=payloads)
    )

    assert run.statuses[:3] == [None, 200, 200]
    assert set(run.ledger.times.values()) == {1}
    told = [duplicate for body in bodies(run)[:2] for duplicate in body.get("duplicates", ())]
    assert told
    assert not any(duplicate["differs"] for duplicate in told)


def test_entries_in_another_order_are_the_same_request(run_schedule: RunSchedule) -> None:
    calls = (Call(0, key=0), Call(1, key=0))

    run = run_schedule(schedule(Day(calls), payloads=(ALL, REVERSED)))

    assert run.statuses == [200, 200, 200]
    assert times(run, ALL) == {1}


def test_other_usage_under_a_known_id_is_told_and_not_stored(run_schedule: RunSchedule) -> None:
    units = (Unit(0, 0), Unit(0, 0))

    run = run_schedule(Schedule(units, (Payload((0,)), Payload((1,))), (Day((Call(0), Call(1))),)))

    (duplicate,) = bodies(run)[1]["duplicates"]
    assert duplicate["differs"]
    assert run.ledger.times == {0: 1}


@pytest.mark.parametrize("fault", [Fault.SOME_REASONS, Fault.NONE])
def test_known_entries_are_left_out_however_few_reasons_are_named(
    run_schedule: RunSchedule, fault: Fault
) -> None:
    stored = Day((Call(0),))
    again = Day((Call(1),), (SEND, *[Move(0, fault)] * 9))

    run = run_schedule(schedule(stored, again, payloads=(Payload((1, 2, 5)), WITH_IDS)))

    assert run.statuses == [200, 200]
    assert (fault in run.faults) == (fault is Fault.SOME_REASONS)
    # Two of the three chunks are tried twice: what is read is not only what was named.
    assert len(run.transactions) == 1 + 5
    assert times(run, WITH_IDS) == {1}


def test_the_same_id_of_another_customer_is_another(run_schedule: RunSchedule) -> None:
    run = run_schedule(schedule(Day((Call(0), Call(1))), payloads=(Payload((1,)), Payload((5,)))))

    assert bodies(run) == [{}, {}]


def test_a_dry_run_tells_what_an_insert_then_does(run_schedule: RunSchedule) -> None:
    payloads = (Payload((1, 2)), ALL)
    calls = (Call(1, key=0, dry_run=True), Call(1, key=0), Call(1, key=0, dry_run=True))

    run = run_schedule(schedule(Day((Call(0),)), Day(calls), payloads=payloads))

    before, _, after = bodies(run)[1:4]
    assert before["records"] == 4
    assert [each["transaction_id"] for each in before["duplicates"]] == ["t0", "t1"]
    assert after["records"] == 0


def test_a_dry_run_tells_what_was_first_left_unread(run_schedule: RunSchedule) -> None:
    dry = Day((Call(dry_run=True),), (SEND, *[Move(0, Fault.UNPROCESSED_KEYS)] * 3))

    run = run_schedule(schedule(Day((Call(),)), dry, payloads=(WITH_IDS,)))

    told = bodies(run)[1]
    assert (told["records"], len(told["duplicates"])) == (0, 9)


def test_usage_that_a_late_copy_stored_is_no_duplicate(run_schedule: RunSchedule) -> None:
    arrives = Move(1)
    moves = (SEND, Move(0, Fault.LATE), Move(0, Fault.CONFLICT), arrives, Move(0))

    run = run_schedule(schedule(Day((Call(),), moves), payloads=(Payload((1, 2, 3)),)))

    assert bodies(run) == [{}]


def test_a_dry_run_overtaken_by_other_entries_is_refused(run_schedule: RunSchedule) -> None:
    calls = (Call(0, key=0, dry_run=True), Call(1, key=0))
    overtaken = (SEND, Move(0), Move(0), *[Move(1)] * 3)

    run = run_schedule(schedule(Day(calls, overtaken), payloads=(ALL, Payload((0, 4, 8, 12)))))

    assert run.statuses == [200, 422, 200]


# What is deployed changes.


@pytest.mark.parametrize("release", OTHER_RELEASES)
def test_a_release_before_a_resume_is_a_409_that_loses_nothing(
    run_schedule: RunSchedule, release: Release
) -> None:
    other = Day((Call(key=0),), deployment=Deployment(release))
    back = Day((Call(key=0),))

    run = run_schedule(schedule(CUT_OFF, other, back))

    assert run.statuses[:4] == [None, 409, 409, 200], "both clients, and one of them again"
    assert times(run, ALL) == {1}


@pytest.mark.parametrize("release", OTHER_RELEASES)
def test_entries_with_ids_are_sent_without_the_key_after_a_409(
    run_schedule: RunSchedule, release: Release
) -> None:
    other = Day((Call(key=1, gives_up=True),), deployment=Deployment(release))

    run = run_schedule(schedule(CUT_OFF, other, payloads=(WITH_IDS,)))

    assert run.statuses[:2] == [None, 409]
    assert set(run.statuses[2:]) == {200}
    assert times(run, WITH_IDS) == {1}


@pytest.mark.parametrize("deployment", [Deployment(lacks=0), Deployment(lacks_customer=0)])
def test_a_half_written_request_is_completed_though_it_would_be_refused(
    run_schedule: RunSchedule, deployment: Deployment
) -> None:
    without = Day((Call(payload=1, key=1),), deployment=deployment)

    run = run_schedule(schedule(CUT_OFF, without))

    assert run.statuses[:3] == [None, 200, 422]
    assert times(run, Payload(ALL.units[1:])) == {1}


@pytest.mark.parametrize("fault", [*PASSING_READS, Fault.KILLED_BEFORE])
def test_a_lookup_of_subscribers_is_retried(run_schedule: RunSchedule, fault: Fault) -> None:
    looked_up = Day((Call(attempts=2),), (SEND, Move(0, fault)), deployment=Deployment(lacks_customer=NOBODY))

    run = run_schedule(schedule(looked_up))

    assert run.faults == [fault]
    assert run.statuses == [*([None] if fault in DEADLY else []), 200, 200]


def test_without_an_answer_about_subscribers_nothing_is_stored(run_schedule: RunSchedule) -> None:
    throttled = (SEND, *[Move(0, Fault.THROTTLED)] * 200)
    deployment = Deployment(lacks_customer=NOBODY)

    run = run_schedule(schedule(Day((Call(gives_up=True),), throttled, deployment=deployment)))

    assert run.statuses == [503]
    assert not run.ledger.items


@pytest.mark.parametrize("hours", [1, 48])
def test_a_resume_keeps_to_the_hours_of_the_first_try(run_schedule: RunSchedule, hours: int) -> None:
    resumed = Day(
        (Call(key=0, attempts=2),),
        (SEND, SEND, Move(0), KILLED),
        gap_hours=23,
        deployment=Deployment(idempotency_hours=hours),
    )
    expired = Day((Call(key=0),), until=Until.KEY_EXPIRY, offset_ms=2_000)

    run = run_schedule(schedule(CUT_OFF, resumed, expired))

    assert len(run.ledger.uses["key-0"]) == 2
    first, second = run.ledger.uses["key-0"]
    assert second.expires_at - first.expires_at == 25 * 3600 + 2, "the resume changed the expiry"


# The edge of the memory.


def test_a_503_that_did_not_see_the_first_row_promises_no_time(run_schedule: RunSchedule) -> None:
    throttled = [Move(0, Fault.THROTTLED)] * 200
    late = Day((Call(key=0), Call(payload=1)), (SEND, *throttled), gap_hours=23)

    run = run_schedule(schedule(GIVEN_UP, late))

    assert run.statuses[:2] == [None, 503]
    refused = bodies(run)[0]
    assert "resume_until" not in refused
    assert "within 24 hours of the first time" in refused["detail"]


def test_a_key_is_remembered_for_a_day_and_then_free_for_another_payload(run_schedule: RunSchedule) -> None:
    first = Day((Call(payload=0, key=0),))
    promised = Day((Call(payload=1, key=0),), until=Until.KEY_PROMISE)
    last_second = Day((Call(payload=1, key=0),), until=Until.KEY_EXPIRY)
    free = Day((Call(payload=1, key=0),), until=Until.KEY_EXPIRY, offset_ms=1_000)

    run = run_schedule(schedule(first, promised, last_second, free))

    assert run.statuses == [200, 422, 422, 200, 200]


def test_a_resume_at_the_last_second_and_a_retry_10_s_later_write_once(run_schedule: RunSchedule) -> None:
    resumed = Day((Call(key=0),), until=Until.KEY_PROMISE)
    retried = Day((Call(key=0),), until=Until.KEY_PROMISE, offset_ms=10_000)

    run = run_schedule(schedule(GIVEN_UP, resumed, retried))

    assert run.statuses == [None, 200, 200, 200]
    assert times(run, ALL) == {1}


@pytest.mark.parametrize("offset_ms", [-1_000, 0, 1_000])
@pytest.mark.parametrize("every", [1, 2])
def test_time_to_live_during_a_repeat_never_decides(
    run_schedule: RunSchedule, offset_ms: int, every: int
) -> None:
    first = Day((Call(key=0),))
    repeat = Day((Call(key=0),), (SEND, Move(), TimeToLive(every), Move()), Until.KEY_EXPIRY, offset_ms)

    run = run_schedule(schedule(first, repeat))

    # At its last second, the key is remembered; then it is another use, as a whole.
    assert times(run, Payload((0, 4, 8))) == ({1} if offset_ms <= 0 else {2})
    assert times(run, WITH_IDS) == {1}


@pytest.mark.parametrize(("offset_ms", "stored"), [(-1_000, 1), (0, 1), (1_000, 2)])
def test_an_id_is_remembered_for_its_days(run_schedule: RunSchedule, offset_ms: int, stored: int) -> None:
    first = Day((Call(),))
    again = Day((Call(),), (TimeToLive(),), Until.ID_EXPIRY, offset_ms)

    run = run_schedule(schedule(first, again, payloads=(WITH_IDS,)))

    assert times(run, WITH_IDS) == {stored}


def test_an_id_that_expires_between_the_requests_of_a_key_is_left_out(run_schedule: RunSchedule) -> None:
    """A request after the expiry writes the first chunk, one before it the other, which has the ids."""
    calls = (Call(key=0), Call(key=0, clock_ms=1_000))
    moves = (SEND, Move(1), Move(1), *[Move(0)] * 9)

    run = run_schedule(
        schedule(Day((Call(),)), Day(calls, moves, Until.ID_EXPIRY), payloads=(Payload((1, 5, 8)),))
    )

    assert set(run.statuses) == {200}
    assert run.ledger.times == {1: 1, 5: 1, 8: 2}


def test_in_the_last_second_of_a_key_its_next_use_may_answer(run_schedule: RunSchedule) -> None:
    first = Day((Call(key=0),))
    still, already = Call(key=0), Call(key=0, clock_ms=1_000)

    run = run_schedule(
        schedule(first, Day((still, already), (SEND, *[Move(1)] * 9), Until.KEY_EXPIRY), payloads=(WITH_IDS,))
    )

    assert set(run.statuses) == {200}
    assert times(run, WITH_IDS) == {1}


def test_an_expired_id_beside_a_known_one_is_stored_again(run_schedule: RunSchedule) -> None:
    old, new = Day((Call(0),)), Day((Call(1),), gap_hours=25)
    both = Day((Call(2),), until=Until.ID_EXPIRY, offset_ms=1_000)

    run = run_schedule(schedule(old, new, both, payloads=(Payload((1,)), Payload((2,)), Payload((1, 2)))))

    assert run.ledger.times == {1: 2, 2: 1}


def test_what_is_resumed_a_day_late_expires_with_its_first_chunk(run_schedule: RunSchedule) -> None:
    resumed = Day((Call(key=0),), gap_hours=23)
    sent_anew = Day((Call(key=0),), until=Until.KEY_EXPIRY, offset_ms=1_000)

    run = run_schedule(schedule(CUT_OFF, resumed, sent_anew))

    assert run.statuses[0] is None
    assert set(run.statuses[1:]) == {200}
    assert times(run, Payload((0, 4, 8))) == {2}


def test_a_use_that_outlives_its_key_does_not_join_the_next(run_schedule: RunSchedule) -> None:
    late, next_use = Call(key=0), Call(key=0, clock_ms=1_000)
    first_chunk, then_the_next_use = Move(0), [Move(1)] * 20
    both = Day((late, next_use), (SEND, first_chunk, Move(1), *then_the_next_use), Until.KEY_EXPIRY)

    run = run_schedule(schedule(GIVEN_UP, both))

    assert run.statuses[:3] in ([None, 200, 409], [None, 409, 200])


@pytest.mark.parametrize("chunks", [1, 2])
def test_a_clock_before_the_expiry_finishes_what_one_after_it_began(
    run_schedule: RunSchedule, chunks: int
) -> None:
    units = tuple(Unit(customer) for customer in range(10))
    first = Day((Call(key=0),))
    after, before = Call(key=0, gives_up=True), Call(key=0, clock_ms=-1_000)
    moves = (SEND, *[Move()] * chunks, KILLED)
    second = Day((after, before), moves, Until.KEY_EXPIRY, offset_ms=1_000)

    run = run_schedule(Schedule(units, (Payload(tuple(range(10))),), (first, second)))

    assert run.statuses == [200, None, 200, 200]
    assert set(run.ledger.times.values()) == {2}


def test_calls_with_the_same_x_amzn_request_id_are_told_apart(run_schedule: RunSchedule) -> None:
    same = Call(x_amzn_request_id=0)

    run = run_schedule(one_day(calls=(same, same, same)))

    assert run.statuses[:3] == [200] * 3
    assert times(run, Payload((0, 4, 8))) == {3}
    assert times(run, WITH_IDS) == {1}
