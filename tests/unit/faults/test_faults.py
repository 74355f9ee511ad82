"""No retry, crash, race or throttle loses or doubles usage: found by trying, not by argument.

First many schedules, then the faults one by one, and what is seldom drawn. Every run checks that all
usage is in once, and that the answers are true.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest
from hypothesis import given, settings

from tests.unit.faults.faults import CANCELLATIONS, DEADLY, OF_TRANSACTIONS, Fault
from tests.unit.faults.run import Run
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
    schedules,
)

RunSchedule = Callable[[Schedule], Run]

# `--hypothesis-profile=faults` makes many runs, other ones each time; else there are few, always the same.
_MANY = settings.get_current_profile_name() == "faults"


@pytest.mark.parametrize("_part", range(4 if _MANY else 1))  # one for each process of pytest-xdist, and more
@settings(settings.get_profile("faults" if _MANY else "few-faults"))
@given(schedule=schedules)
def test_whatever_goes_wrong_all_usage_is_in_exactly_once(
    run_schedule: RunSchedule, _part: int, schedule: Schedule
) -> None:
    run_schedule(schedule)


# In chunks of four actions and their request's row: three customers fill one each, the fourth has the first.
UNITS = (
    *(Unit(customer, number) for customer in range(3) for number in (None, 0, 1, 2)),
    Unit(3, 0),
)
ALL = Payload(tuple(range(13)))
OTHER = Payload((0, 4))
# With all ids, in chunks of five actions: each of these customers has one.
WITH_IDS = Payload((1, 2, 3, 5, 6, 7, 9, 10, 11))
KEYED = (Call(key=0),)
SEND = Move()
"""The first move, when there is nothing else to do."""
KILLED = Move(0, Fault.KILLED_BEFORE)
CUT_OFF = Day(KEYED, (SEND, Move(), KILLED))
"""A request whose first chunk is stored, and whose process is killed at the second."""
GIVEN_UP = Day((Call(key=0, gives_up=True),), CUT_OFF.moves)
"""The same, and its caller does not resume it."""
THROTTLED = [Move(0, Fault.THROTTLED)] * 200


def schedule(*days: Day, payloads: Iterable[Payload] = (ALL, OTHER, WITH_IDS)) -> Schedule:
    return Schedule(UNITS, tuple(payloads), days)


def one_day(*moves: Move | JobRuns, calls: tuple[Call, ...] = KEYED) -> Schedule:
    return schedule(Day(calls, moves))


PASSING = [
    fault for fault in Fault if fault not in (Fault.NONE, *DEADLY, Fault.SOME_REASONS, Fault.UNPROCESSED_KEYS)
]
PASSING_READS = [*(fault for fault in PASSING if fault not in OF_TRANSACTIONS), Fault.UNPROCESSED_KEYS]


@pytest.mark.parametrize("fault", PASSING)
@pytest.mark.parametrize("chunk", range(4))
def test_what_passes_is_retried_within_the_call(run_schedule: RunSchedule, fault: Fault, chunk: int) -> None:
    run = run_schedule(one_day(SEND, *[Move()] * chunk, Move(0, fault)))

    assert run.faults == [fault]
    assert run.statuses == [200, 200], "the call, and its replay"
    # What is not known to be cancelled is tried again under its token; the replay tries the first chunk.
    assert len(set(run.transactions)) == 4 + 1 + (fault in CANCELLATIONS)


@pytest.mark.parametrize("fault", PASSING_READS)
@pytest.mark.parametrize("before", range(3), ids=["of subscribers", "after a cancellation", "before a write"])
def test_what_passes_is_retried_when_rows_are_read(
    run_schedule: RunSchedule, fault: Fault, before: int
) -> None:
    deployment = Deployment() if before else Deployment(lacks_customer=NOBODY)
    again = Day((Call(),), (SEND, *[Move()] * before, Move(0, fault)), deployment=deployment)

    run = run_schedule(schedule(Day((Call(),)), again, payloads=(WITH_IDS,)))

    assert run.faults == [fault]
    assert run.statuses == [200, 200]


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


ONCE = dict.fromkeys(ALL.units, 1)
ONCE_WITH_IDS = dict.fromkeys(WITH_IDS.units, 1)
SUMS_TWICE = ONCE | {0: 2, 4: 2, 8: 2}
"""Sent again after the expiry of the key, and before that of the ids."""
OTHER_TWICE = ONCE | {0: 2, 4: 2}

# What is answered (the last are the replays), how often each unit is stored, and in which schedule.
EXAMPLES: dict[str, tuple[list[int | None], dict[int, int], Schedule]] = {
    "a payload that comes late does not join its key's owner": (
        [None, 200, 422, 200],
        {0: 1, 4: 1},
        one_day(SEND, Move(0, Fault.KILLED_LATE), SEND, *[Move()] * 3, calls=(*KEYED, Call(1, key=0))),
    ),
    "a dry run overtaken by other entries is refused": (
        [200, 422, 200],
        {0: 1, 4: 1, 8: 1, 12: 1},
        schedule(
            Day((Call(0, key=0, dry_run=True), Call(1, key=0)), (SEND, Move(0), Move(0), *[Move(1)] * 3)),
            payloads=(ALL, Payload((0, 4, 8, 12))),
        ),
    ),
    "a job before a request's late arrival and the retry bills once": (
        [None, 200, 200],
        ONCE,
        one_day(
            *(SEND, Move(), Move(0, Fault.KILLED_LATE), JobRuns(), Move(1), JobRuns()),
            calls=(Call(key=0, attempts=2),),
        ),
    ),
    "usage that a late copy stored is no duplicate": (
        [200],
        {1: 1, 2: 1, 3: 1},
        schedule(
            Day((Call(),), (SEND, Move(0, Fault.LATE), Move(0, Fault.CONFLICT), Move(1), Move(0))),
            payloads=(Payload((1, 2, 3)),),
        ),
    ),
    **{
        f"{release} before a resume is a 409 that loses nothing": (
            # Both clients, and one of them again.
            [None, 409, 409, 200, 200],
            ONCE,
            schedule(CUT_OFF, Day(KEYED, deployment=Deployment(release)), Day(KEYED)),
        )
        for release in (Release.OTHER_DIVISION, Release.OTHER_DIGEST)
    },
    "entries with ids are sent without the key after a 409": (
        [None, 409, 200, 200, 200],
        ONCE_WITH_IDS,
        schedule(
            CUT_OFF,
            Day((Call(key=1, gives_up=True),), deployment=Deployment(Release.OTHER_DIVISION)),
            payloads=(WITH_IDS,),
        ),
    ),
    **{
        f"a half-written request is completed though refused by {deployment}": (
            [None, 200, 422, 200],
            ONCE,
            schedule(CUT_OFF, Day((Call(1, key=1),), deployment=deployment)),
        )
        for deployment in (Deployment(lacks=0), Deployment(lacks_customer=0))
    },
    "without an answer about subscribers nothing is stored": (
        [503],
        {},
        schedule(
            Day((Call(gives_up=True),), (SEND, *THROTTLED), deployment=Deployment(lacks_customer=NOBODY))
        ),
    ),
    **{
        f"a resume keeps to the hours of the first try, not to {hours}": (
            [None, None, 200, 200, 200, 200],
            SUMS_TWICE,
            schedule(
                CUT_OFF,
                Day(
                    (Call(key=0, attempts=2),),
                    (SEND, SEND, Move(0), KILLED),
                    gap_hours=23,
                    deployment=Deployment(idempotency_hours=hours),
                ),
                Day(KEYED, until=Until.KEY_EXPIRY, offset_ms=2_000),
            ),
        )
        for hours in (1, 48)
    },
    "a 503 that did not see the first row promises no time": (
        [None, 503, 503, 200, 200, 200, 200],
        OTHER_TWICE,
        schedule(GIVEN_UP, Day((*KEYED, Call(1)), (SEND, *THROTTLED), gap_hours=23)),
    ),
    "a key is remembered for a day and then free for another payload": (
        [200, 422, 422, 200, 200],
        OTHER_TWICE,
        schedule(
            Day(KEYED),
            Day((Call(1, key=0),), until=Until.KEY_PROMISE),
            Day((Call(1, key=0),), until=Until.KEY_EXPIRY),
            Day((Call(1, key=0),), until=Until.KEY_EXPIRY, offset_ms=1_000),
        ),
    ),
    "a resume at the last second and a retry 10 s later write once": (
        [None, 200, 200, 200],
        ONCE,
        schedule(
            GIVEN_UP,
            Day(KEYED, until=Until.KEY_PROMISE),
            Day(KEYED, until=Until.KEY_PROMISE, offset_ms=10_000),
        ),
    ),
    **{
        f"time to live during a repeat {offset_ms} ms after the expiry does not decide": (
            [200, 200, 200],
            stored,
            schedule(
                Day(KEYED),
                Day(KEYED, (SEND, Move(), TimeToLive(every), Move()), Until.KEY_EXPIRY, offset_ms),
            ),
        )
        for offset_ms, every, stored in ((0, 1, ONCE), (1_000, 2, SUMS_TWICE))
    },
    **{
        f"an id is stored {times} times {offset_ms} ms after its expiry": (
            [200, 200],
            dict.fromkeys(WITH_IDS.units, times),
            schedule(
                Day((Call(2),)),
                Day((Call(2),), (TimeToLive(),), Until.ID_EXPIRY, offset_ms),
            ),
        )
        for offset_ms, times in ((0, 1), (1_000, 2))
    },
    # A request after the expiry writes the first chunk, one before it the other, which has the ids.
    "an id that expires between the requests of a key is left out": (
        [200, 200, 200, 200],
        {1: 1, 5: 1, 8: 2},
        schedule(
            Day((Call(),)),
            Day(
                (*KEYED, Call(key=0, clock_ms=1_000)),
                (SEND, Move(1), Move(1), *[Move(0)] * 9),
                Until.ID_EXPIRY,
            ),
            payloads=(Payload((1, 5, 8)),),
        ),
    ),
    "an expired id beside a known one is stored again": (
        [200, 200, 200],
        {1: 2, 2: 1},
        schedule(
            Day((Call(0),)),
            Day((Call(1),), gap_hours=25),
            Day((Call(2),), until=Until.ID_EXPIRY, offset_ms=1_000),
            payloads=(Payload((1,)), Payload((2,)), Payload((1, 2))),
        ),
    ),
    "a use that outlives its key does not join the next": (
        [None, 200, 409],
        ONCE,
        schedule(
            GIVEN_UP,
            Day((*KEYED, Call(key=0, clock_ms=1_000)), (SEND, Move(0), *[Move(1)] * 21), Until.KEY_EXPIRY),
        ),
    ),
    "a clock before the expiry finishes what one after it began": (
        [200, None, 200, 200],
        dict.fromkeys(range(10), 2),
        Schedule(
            tuple(Unit(customer) for customer in range(10)),
            (Payload(tuple(range(10))),),
            (
                Day(KEYED),
                Day(
                    (Call(key=0, gives_up=True), Call(key=0, clock_ms=-1_000)),
                    (SEND, Move(), KILLED),
                    Until.KEY_EXPIRY,
                    offset_ms=1_000,
                ),
            ),
        ),
    ),
}


@pytest.mark.parametrize(("statuses", "stored", "schedule"), EXAMPLES.values(), ids=EXAMPLES)
def test_an_example_is_answered_and_stored_as_it_should_be(
    run_schedule: RunSchedule, statuses: list[int | None], stored: dict[int, int], schedule: Schedule
) -> None:
    run = run_schedule(schedule)

    assert (run.statuses, run.ledger.times) == (statuses, stored)


@pytest.mark.parametrize("fault", [Fault.SOME_REASONS, Fault.NONE])
def test_known_entries_are_left_out_however_few_reasons_are_named(
    run_schedule: RunSchedule, fault: Fault
) -> None:
    again = Day((Call(1),), (SEND, *[Move(0, fault)] * 9))

    run = run_schedule(schedule(Day((Call(0),)), again, payloads=(Payload((1, 2, 5)), WITH_IDS)))

    assert run.statuses == [200, 200]
    assert (fault in run.faults) == (fault is Fault.SOME_REASONS)
    # Two of the three chunks are tried twice: what is read is not only what was named.
    assert len(run.transactions) == 1 + 5


def test_a_dry_run_tells_what_an_insert_then_does(run_schedule: RunSchedule) -> None:
    calls = (Call(1, key=0, dry_run=True), Call(1, key=0), Call(1, key=0, dry_run=True))
    known = Day((Call(2, dry_run=True),), (SEND, *[Move(0, Fault.UNPROCESSED_KEYS)] * 3))

    run = run_schedule(
        schedule(Day((Call(0),)), Day(calls), known, payloads=(Payload((1, 2)), ALL, WITH_IDS))
    )

    told = [
        (answer.body["records"], len(answer.body["duplicates"]))
        for answer in run.answers
        if answer and "dry_run" in answer.body
    ]
    assert told == [(4, 2), (0, 2), (0, 9)]


def test_a_taken_slot_moves_only_its_record(run_schedule: RunSchedule) -> None:
    taken, both = Call(1), Call(0)
    payloads = (Payload((0, 4)), Payload((0,)))

    run = run_schedule(schedule(Day((taken, both), (SEND, Move(1), Move(0))), payloads=payloads))

    assert run.delays_ms[:2] == [0, 0]
    assert 0 < run.delays_ms[2] <= 50


def test_a_request_whose_slots_are_taken_for_10_s_ends_as_503(
    run_schedule: RunSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Six records of one customer and millisecond, of which five have room.
    monkeypatch.setattr(random, "randint", lambda *_: 2_500)
    calls = tuple(Call(key=number) for number in range(6))
    send_all = tuple(Move(number) for number in range(6))

    run = run_schedule(schedule(Day(calls, send_all), payloads=(Payload((0,)),)))

    assert run.statuses.count(503) == 1
    assert [delay for delay in run.delays_ms if delay % 2_500 == 0] == [0, 2_500, 5_000, 7_500, 10_000]
    assert len(run.delays_ms) == 6, "the resuming request has a time of its own"


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
    in_turns = [Move(number) for number in (*range(len(calls)), *range(600))]

    run = run_schedule(Schedule(units, tuple(payloads), (Day(calls, tuple(in_turns)),)))

    assert set(run.statuses) == {200}
    assert run.delays_ms[-1] - max(clocks_ms) < 1_000
