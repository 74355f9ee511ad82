"""Schedules of requests, interleavings and faults, as plain data that can be replayed."""

from collections.abc import Sequence
from dataclasses import dataclass, fields

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests.unit.faults.faults import Fault, Named
from tests.unit.lambda_calls import FUNCTION_TIME_MS
from tools.local_cloud.hourly_job import MeteringError

NOBODY = 9
"""A customer that no unit has."""
FUNCTION_TIMES_MS = (FUNCTION_TIME_MS, 9_000, 5_100)
"""How long Lambda lets a function run; with little time a few faults are enough for a 503."""

GRACE_S = 3_600
"""Rows count that much longer than promised."""


@dataclass(frozen=True, repr=False)
class _Plain:
    """Leaves default values out of its repr, so that a failing schedule is short to read, and to copy."""

    def __repr__(self) -> str:
        unusual = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(self)
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(unusual)})"


@dataclass(frozen=True, repr=False)
class Unit(_Plain):
    """A piece of usage that the seller has to send: of which customer, and under which id, if any.

    Its number in the schedule is its dimension, so that the table tells which were counted, and how often.
    Two units with the same id are the same usage, sent once with a mistake.
    """

    customer: int = 0
    transaction_id: int | None = None


@dataclass(frozen=True, repr=False)
class Payload(_Plain):
    """A request's entries: numbers of units, in the order sent; a flawed one breaks a rule in the last."""

    units: tuple[int, ...]
    flawed: bool = False


@dataclass(frozen=True, repr=False)
class Call(_Plain):
    """What one client sends: which payload, under which key (None: no header), and how often it tries.

    A client that has an ``x_amzn_request_id`` sends it with each try, and others may send the same one.
    ``clock_ms`` is what API Gateway's clock is ahead; each try sends the entries in another order if it
    ``reorders`` them. One that ``gives_up`` does not resume after the last try.
    """

    payload: int = 0
    key: int | None = None
    x_amzn_request_id: int | None = None
    prefer: bool = False
    dry_run: bool = False
    reorders: bool = False
    gives_up: bool = False
    attempts: int = 1
    at_ms: int = 0
    clock_ms: int = 0
    time_ms: int = FUNCTION_TIMES_MS[0]


class Failure(Named):
    """How BatchMeterUsage fails: for the dimension d0 alone, or as a whole, as two releases store it."""

    NONE = ()
    REFUSED = (("d0", "CustomerNotSubscribed"),)
    UNPROCESSED = (("d0", "Unprocessed"),)
    EXCEPTION_2025 = MeteringError({"message": "…", "code": "InvalidUsageDimensionException"})
    EXCEPTION_2026 = MeteringError({"$fault": "client", "name": "InvalidUsageDimensionException"})


@dataclass(frozen=True, repr=False)
class Move(_Plain):
    """The next step: which of the things that can go on does, and what happens to its request.

    They are, in this order: invocations under way, calls not yet sent, requests still on their way.
    """

    what: int = 0
    fault: Fault = Fault.NONE


@dataclass(frozen=True, repr=False)
class JobRuns(_Plain):
    """The hourly job runs; for one customer, BatchMeterUsage may fail."""

    customer: int = 0
    failure: Failure = Failure.NONE


@dataclass(frozen=True, repr=False)
class TimeToLive(_Plain):
    """DynamoDB deletes the rows whose time to live has passed: all, or every second."""

    every: int = 1


class Until(Named):
    """What the next day waits for: a time of the row that reaches it first.

    Of a request's row or an entry's, which attribute, and the seconds from it.
    """

    NOTHING = None
    KEY_PROMISE = (True, "expires_at", -GRACE_S)
    KEY_EXPIRY = (True, "expires_at", 0)
    KEY_DELETION = (True, "delete_after", 0)
    ID_PROMISE = (False, "expires_at", -GRACE_S)
    ID_EXPIRY = (False, "expires_at", 0)
    ID_DELETION = (False, "delete_after", 0)


class Release(Named):
    """A release of the API: how many actions a transaction has, and its versions of division and digest."""

    FIRST = (5, 1, 1)
    OTHER_DIVISION = (4, 2, 1)
    OTHER_DIGEST = (5, 1, 2)


@dataclass(frozen=True, repr=False)
class Deployment(_Plain):
    """What is deployed: a release and its configuration.

    ``lacks`` is the unit whose dimension is unknown, ``lacks_customer`` the customer that the table of
    subscribers has not; it may be nobody's, and the table is looked at if it is not None.
    """

    release: Release = Release.FIRST
    idempotency_hours: int = 24
    transaction_id_days: int = 90
    lacks: int | None = None
    lacks_customer: int | None = None


@dataclass(frozen=True, repr=False)
class Day(_Plain):
    """Calls and moves. When the moves are used up, the rest happens in order and without faults."""

    calls: tuple[Call, ...]
    moves: tuple[Move | JobRuns | TimeToLive, ...] = ()
    until: Until = Until.NOTHING
    offset_ms: int = 0
    """Time from that to the day's start."""
    gap_hours: int = 0
    """Hours since the previous day, if it waits for nothing."""
    deployment: Deployment = Deployment()


@dataclass(frozen=True, repr=False)
class Schedule(_Plain):
    """Everything that distinguishes one run from another."""

    units: tuple[Unit, ...]
    payloads: tuple[Payload, ...]
    days: tuple[Day, ...]


# One choice for each keeps generation fast, and a failing schedule shrinks to the first ones. Half of the
# requests go well: otherwise few calls would get as far as their later chunks.
_MOVES: Sequence[Move | JobRuns | TimeToLive] = [
    *(Move(what, Fault.NONE) for what in range(5) for _ in Fault),
    *(Move(what, fault) for what in range(5) for fault in Fault),
    *(JobRuns(number % 3, failure) for number, failure in enumerate(Failure)),
    *(TimeToLive(every) for every in (1, 2)),
]
_moves = st.sampled_from(_MOVES)
_UNITS = [
    *(Unit(customer) for customer in (0, 0, 0, 1, 2)),
    *(Unit(customer, number) for customer in (0, 0, 0, 1) for number in range(4)),
]
_payloads = st.builds(
    Payload,
    units=st.lists(st.integers(0, 7), min_size=1, max_size=7).map(tuple),
    flawed=st.sampled_from([False] * 19 + [True]),
)
_calls = st.builds(
    Call,
    payload=st.integers(0, 3),
    key=st.sampled_from([None, None, 0, 0, 1]),
    x_amzn_request_id=st.sampled_from([None, 0, 0, 1]),
    prefer=st.booleans(),
    dry_run=st.sampled_from([False] * 7 + [True]),
    reorders=st.booleans(),
    gives_up=st.sampled_from([False, False, True]),
    attempts=st.integers(1, 3),
    at_ms=st.sampled_from([0, 0, 1, 5]),
    clock_ms=st.sampled_from([0, 0, 1, -1, -100, 500, -1_000, 1_000]),
    time_ms=st.sampled_from([*FUNCTION_TIMES_MS, FUNCTION_TIMES_MS[-1]]),
)
_deployments = st.one_of(
    st.just(Deployment()),
    st.builds(
        Deployment,
        release=st.sampled_from([Release.FIRST, Release.FIRST, *Release]),
        idempotency_hours=st.sampled_from([24, 1, 48]),
        transaction_id_days=st.sampled_from([90, 35, 400]),
        lacks=st.sampled_from([None, None, 0, 1]),
        lacks_customer=st.sampled_from([None, None, NOBODY, 0]),
    ),
)
_days = st.builds(
    Day,
    calls=st.lists(_calls, min_size=1, max_size=4).map(tuple),
    # On its own, the strategy for lists seldom makes long ones.
    moves=st.one_of(st.lists(_moves, max_size=10), st.lists(_moves, min_size=10, max_size=40)).map(tuple),
    until=st.sampled_from(Until),
    offset_ms=st.sampled_from([0, -1_000, 1_000, -10_000, 10_000]),
    gap_hours=st.sampled_from([0, 0, 2, 23, 25]),
    deployment=_deployments,
)
schedules: SearchStrategy[Schedule] = st.builds(
    Schedule,
    units=st.lists(st.sampled_from(_UNITS), min_size=2, max_size=8).map(tuple),
    payloads=st.lists(_payloads, min_size=1, max_size=4).map(tuple),
    days=st.integers(1, 6).flatmap(
        lambda n: st.lists(_days, min_size=max(1, n - 3), max_size=max(1, n - 3)).map(tuple)
    ),
)
