"""Schedules of requests, interleavings and faults, as plain data that can be replayed."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING, cast

from hypothesis import strategies as st

from tests.unit.faults.faults import Fault
from tests.unit.lambda_calls import FUNCTION_TIME_MS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from _typeshed import DataclassInstance
    from hypothesis.strategies import SearchStrategy

FUNCTION_TIMES_MS = (FUNCTION_TIME_MS, 9_000, 5_100)
"""How long Lambda lets a function run; with little time a few faults are enough for a 503."""
GAPS_HOURS = (0, 23, 2, 25)
"""Between two days; 23 and 2 together are more than the 24 hours a key is remembered."""


class _Plain:
    """Leaves default values out of its repr, so that a failing schedule is short to read, and to copy."""

    def __repr__(self) -> str:
        unusual = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in fields(cast("DataclassInstance", self))
            if getattr(self, field.name) != field.default
        ]
        return f"{type(self).__name__}({', '.join(unusual)})"


@dataclass(frozen=True, repr=False)
class Payload(_Plain):
    """A request's entries, each a number that names its customer; a flawed one breaks a rule in the last."""

    customers: tuple[int, ...]
    flawed: bool = False


@dataclass(frozen=True, repr=False)
class Call(_Plain):
    """What one client sends: which payload, under which key (None: no header), and how often it tries.

    A client that has an ``x_amzn_request_id`` sends it with each try, and others may send the same one.
    """

    payload: int = 0
    key: int | None = None
    x_amzn_request_id: int | None = None
    prefer: bool = False
    attempts: int = 1
    at_ms: int = 0
    time_ms: int = FUNCTION_TIMES_MS[0]


class Failure(Enum):
    """How BatchMeterUsage fails: for the dimension d0 alone, or as a whole."""

    NONE = "none"
    REFUSED = "CustomerNotSubscribed"
    UNPROCESSED = "Unprocessed"
    EXCEPTION_2025 = "an exception, as the release of 2025 stores it"
    EXCEPTION_2026 = "an exception, as the release of April 2026 stores it"


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
class Day(_Plain):
    """Calls and moves. When the moves are used up, the rest happens in order and without faults."""

    calls: tuple[Call, ...]
    moves: tuple[Move | JobRuns, ...] = ()
    gap_hours: int = 0
    """Hours since the previous day."""
    swept: int = 0
    """Which expired rows TTL has deleted by now: none, all (1), or every second."""


@dataclass(frozen=True, repr=False)
class Schedule(_Plain):
    """Everything that distinguishes one run from another."""

    payloads: tuple[Payload, ...]
    days: tuple[Day, ...]


# One choice for each keeps generation fast, and a failing schedule shrinks to the first ones. Half of the
# requests go well: otherwise few calls would get as far as their later chunks.
_MOVES: Sequence[Move | JobRuns] = [
    *(Move(what, Fault.NONE) for what in range(5) for _ in Fault),
    *(Move(what, fault) for what in range(5) for fault in Fault),
    *(JobRuns(number % 3, failure) for number, failure in enumerate(Failure)),
]
_moves = st.sampled_from(_MOVES)
_payloads = st.builds(
    Payload,
    customers=st.lists(st.integers(0, 2), min_size=1, max_size=7).map(tuple),
    flawed=st.sampled_from([False] * 9 + [True]),
)
_calls = st.builds(
    Call,
    payload=st.integers(0, 2),
    key=st.sampled_from([None, 0, 0, 1]),
    x_amzn_request_id=st.sampled_from([None, 0, 0, 1]),
    prefer=st.booleans(),
    attempts=st.integers(1, 3),
    at_ms=st.sampled_from([0, 0, 1, 5]),
    time_ms=st.sampled_from(FUNCTION_TIMES_MS),
)
_days = st.builds(
    Day,
    calls=st.lists(_calls, min_size=1, max_size=4).map(tuple),
    # On its own, the strategy for lists seldom makes long ones.
    moves=st.one_of(st.lists(_moves, max_size=10), st.lists(_moves, min_size=10, max_size=25)).map(tuple),
    gap_hours=st.sampled_from(GAPS_HOURS),
    swept=st.integers(0, 2),
)
schedules: SearchStrategy[Schedule] = st.builds(
    Schedule,
    payloads=st.lists(_payloads, min_size=1, max_size=3).map(tuple),
    days=st.integers(1, 6).flatmap(
        lambda n: st.lists(_days, min_size=max(1, n - 3), max_size=max(1, n - 3)).map(tuple)
    ),
)
