"""The faults one by one: what a caller sees of each. That every record is in once is checked in every run."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.faults.faults import Fault
from tests.unit.faults.schedules import Call, Day, JobRuns, Move, Payload, Schedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.faults.run import Run

    RunSchedule = Callable[[Schedule], Run]

# In chunks of two records: the first alone, then two at a time.
FOUR_CHUNKS = Payload(customers=(0, 1, 0, 0, 2, 1, 0))
OTHER = Payload(customers=(0, 1))
SEND = Move()
"""The first move, when there is nothing else to do."""


def one_day(*moves: Move | JobRuns, calls: tuple[Call, ...] = (Call(key=0),)) -> Schedule:
    return Schedule(payloads=(FOUR_CHUNKS, OTHER), days=(Day(calls, moves),))


DEADLY = [Fault.KILLED_BEFORE, Fault.KILLED_AFTER, Fault.KILLED_LATE]
PASSING = [fault for fault in Fault if fault not in (Fault.NONE, *DEADLY)]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("chunk", range(4))
def test_what_passes_is_retried_within_the_call(run_schedule: RunSchedule, fault: Fault, chunk: int) -> None:
    run = run_schedule(one_day(SEND, *[Move()] * chunk, Move(0, fault)))

    assert run.faults == [fault]
    assert run.statuses == [200, 200], "the call, and its replay"


@pytest.mark.parametrize("fault", DEADLY)
@pytest.mark.parametrize("chunk", range(4))
@pytest.mark.parametrize("key", [0, None], ids=["with a key", "with the request id as key"])
def test_a_killed_process_is_made_good_by_a_retry(
    run_schedule: RunSchedule, fault: Fault, chunk: int, key: int | None
) -> None:
    run = run_schedule(one_day(SEND, *[Move()] * chunk, Move(0, fault), calls=(Call(key=key, attempts=2),)))

    assert run.faults == [fault]
    assert run.statuses == [None, 200, 200]


def test_another_payload_under_a_half_done_key_is_refused_and_the_first_can_be_resumed(
    run_schedule: RunSchedule,
) -> None:
    calls = (Call(payload=0, key=0), Call(payload=1, key=0))

    run = run_schedule(one_day(SEND, Move(), Move(0, Fault.KILLED_BEFORE), Move(), calls=calls))

    killed, other, resumed, replayed = run.statuses
    assert (killed, other, resumed, replayed) == (None, 422, 200, 200)


def test_a_payload_that_comes_first_late_does_not_join_the_one_that_took_its_key(
    run_schedule: RunSchedule,
) -> None:
    calls = (Call(payload=0, key=0), Call(payload=1, key=0))
    late = (SEND, Move(0, Fault.KILLED_LATE), SEND, Move(), Move())

    run = run_schedule(one_day(*late, Move(), calls=calls))

    assert run.statuses == [None, 200, 422, 200]


@pytest.mark.parametrize("time_ms", [9_000, 5_100])
def test_a_call_that_runs_out_of_time_tells_what_is_in_and_is_resumed_with_the_key_it_hands_back(
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


def test_a_key_is_remembered_for_a_day_and_then_free_for_another_payload(run_schedule: RunSchedule) -> None:
    first = Day(calls=(Call(payload=0, key=0),))
    same_day = Day(calls=(Call(payload=1, key=0),), gap_hours=23)
    next_day = Day(calls=(Call(payload=1, key=0),), gap_hours=2)

    run = run_schedule(Schedule(payloads=(FOUR_CHUNKS, OTHER), days=(first, same_day, next_day)))

    before_it_expires = [200]
    assert run.statuses == [200, 422, *before_it_expires, 200, 200]


def test_what_is_resumed_a_day_late_expires_with_its_first_chunk(run_schedule: RunSchedule) -> None:
    killed = Day(calls=(Call(key=0),), moves=(SEND, Move(), Move(0, Fault.KILLED_BEFORE)))
    resumed = Day(calls=(Call(key=0),), gap_hours=23)
    sent_anew = Day(calls=(Call(key=0),), gap_hours=2)

    run = run_schedule(Schedule(payloads=(FOUR_CHUNKS,), days=(killed, resumed, sent_anew)))

    assert run.statuses[0] is None
    assert set(run.statuses[1:]) == {200}


def test_what_is_resumed_bears_the_time_of_the_first_call(run_schedule: RunSchedule) -> None:
    killed = Day(calls=(Call(key=0),), moves=(SEND, Move(), Move(0, Fault.KILLED_BEFORE)))
    resumed = Day(calls=(Call(key=0),), gap_hours=23)

    run = run_schedule(Schedule(payloads=(FOUR_CHUNKS,), days=(killed, resumed)))

    # Four records are of one customer, two of another, one of the third.
    assert run.delays_ms == [0, 0, 0, 1, 1, 2, 3]


def test_calls_with_the_same_x_amzn_request_id_and_no_key_are_requests_of_their_own(
    run_schedule: RunSchedule,
) -> None:
    same = Call(x_amzn_request_id=0)

    run = run_schedule(one_day(calls=(same, same, same)))

    assert run.statuses[:3] == [200] * 3
    assert len(run.delays_ms) == 3 * len(FOUR_CHUNKS.customers)
