"""Usage that was not billed: whether it was sent again, and what can be, without billing it twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError

from metering_cli.reporting.reasons import Remedy, reason_of
from metering_cli.usage_format import HEADER, UsageLine
from metering_handlers.contract.attributes import EXPIRES_AT
from metering_handlers.contract.queries import EPOCH
from metering_handlers.contract.row_ids import entry_row_id, length_prefixed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class State(StrEnum):
    """What has happened to a failure since."""

    OPEN = "open"
    SENT_AGAIN = "sent again"
    TOO_OLD = "too old to tell"
    """The API may have forgotten that it was sent again."""
    NOTHING = "nothing to bill"
    """Its quantity is 0; a line sent again with 0 closes a failure that needs no more usage."""
    UNKNOWN = "unknown"
    """The idempotency table could not be read."""


_GRACE = timedelta(hours=1)
"""How much longer than promised a row counts, which makes up for clocks that differ."""
OPEN_STATES = (State.OPEN, State.UNKNOWN)


@dataclass(slots=True)
class Failure:
    """One dimension of one record that was not billed.

    Attributes
    ----------
    created : str
        The record's sort key, as DynamoDB returns it, in any unit.
    dimension : str or None
        None if it is not text, in a record made by hand.
    quantity : object
        An int, unless the record was made by hand; the sum if the record has the dimension more than once.
    recorded_at : int or None
        Time of the record in ms since 1970; None if ``created`` is not a time.
    request_id : str or None
        Id of the request that wrote the record.
    """

    customer: str
    created: str
    dimension: str | None
    quantity: object
    reason: str
    recorded_at: int | None
    request_id: str | None = None
    state: State = State.UNKNOWN

    @property
    def amount(self) -> int:
        """Quantity as it counts in the sums: 0 if it is no whole number."""
        return self.quantity if type(self.quantity) is int else 0

    @property
    def transaction_id(self) -> str:
        """Id under which the usage is sent again, so that it is stored once; it never changes."""
        digest = hashlib.sha256(length_prefixed(self.customer, self.created, self.dimension or ""))
        return f"failed-1-{self.created}-{digest.hexdigest()[:32]}"

    @property
    def order(self) -> tuple[str, Decimal, str]:
        """Key by which failures are sorted."""
        return self.customer, Decimal(self.created), self.dimension or ""

    @property
    def row_id(self) -> str:
        """Id of the row that the idempotency table has once the usage was sent again."""
        return entry_row_id(self.customer, self.transaction_id)


def set_states(
    failures: Iterable[Failure],
    rows: Mapping[str, Mapping[str, AttributeValueTypeDef]] | None,
    remembered: timedelta,
    now: datetime,
) -> None:
    """Set the state of each failure.

    Parameters
    ----------
    rows : mapping or None
        Rows of the idempotency table by id; None if it could not be read.
    remembered : timedelta
        For how long the API knows an id. A failure was sent again after its record's time, so that until
        then the row of an id that was sent is there.
    """
    for failure in failures:
        row = (rows or {}).get(failure.row_id)
        if failure.quantity == 0:
            failure.state = State.NOTHING
        # A row counts as in the API's own condition.
        elif row and int(row[EXPIRES_AT]["N"]) >= int(now.timestamp()):
            failure.state = State.SENT_AGAIN
        elif failure.recorded_at is None or not -_GRACE <= _age(failure.recorded_at, now) <= remembered:
            failure.state = State.TOO_OLD
        else:
            failure.state = State.UNKNOWN if rows is None else State.OPEN


def _age(recorded_at: int, now: datetime) -> timedelta:
    return now - (EPOCH + timedelta(milliseconds=recorded_at))


@dataclass(frozen=True)
class Resend:
    """Open failures, by what can be done about them.

    Attributes
    ----------
    send : list of Failure
        AWS certainly did not bill them, and nothing says that it would refuse them again.
    correct : list of tuple of Failure and str
        AWS certainly did not bill them, but they have to be corrected first, and how.
    check : list of Failure
        AWS may have billed them.
    """

    send: list[Failure] = field(default_factory=list)
    correct: list[tuple[Failure, str]] = field(default_factory=list)
    check: list[Failure] = field(default_factory=list)


def to_resend(
    failures: Iterable[Failure], not_billed: Collection[str], dimensions: Collection[str]
) -> Resend:
    """Divide open failures by what can be done about them.

    Parameters
    ----------
    not_billed : collection of str
        Doubtful reasons whose usage, as the seller knows, AWS did not bill.
    dimensions : collection of str
        The product's dimensions, if they are known.
    """
    resend = Resend()
    for failure in sorted(
        failures, key=lambda one: (one.customer, Decimal(one.created), one.dimension or "")
    ):
        if failure.state not in OPEN_STATES:
            continue
        reason = reason_of(failure.reason)
        if reason.remedy is Remedy.CHECK and failure.reason not in not_billed:
            resend.check.append(failure)
        elif refusal := _refusal(failure):
            resend.correct.append((failure, refusal))
        elif dimensions and failure.dimension not in dimensions:
            resend.correct.append((failure, "This dimension is not in params.dimensions: correct it."))
        elif reason.remedy is Remedy.CORRECT and not (dimensions and failure.reason == UNKNOWN_DIMENSION):
            resend.correct.append((failure, reason.to_do))
        else:
            resend.send.append(failure)
    return resend


UNKNOWN_DIMENSION = "InvalidUsageDimensionException"
"""AWS refuses the whole call; where the product's dimensions are known, so is the usage that caused it."""


def _refusal(failure: Failure) -> str | None:
    """Return why the API would refuse the usage as it is, in a record made by hand."""
    line = (failure.customer, failure.dimension, failure.quantity, failure.transaction_id)
    try:
        UsageLine.model_validate(dict(zip(HEADER, line, strict=True)))
    except ValidationError as error:
        return "The API refuses it: " + "; ".join(
            f"{problem['loc'][0]} {problem['msg'][:1].lower()}{problem['msg'][1:]}"
            for problem in error.errors()
        )
    return None
