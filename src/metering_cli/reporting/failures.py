"""Usage that was not billed: whether it was sent again, and what can be, without billing it twice."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from pydantic import ValidationError

from metering_cli.reporting.reasons import UNKNOWN_DIMENSION, Remedy, reason_of
from metering_cli.usage_format import HEADER, UsageLine
from metering_handlers.contract.deployment import MIN_TRANSACTION_ID_DAYS
from metering_handlers.contract.queries import EPOCH
from metering_handlers.contract.row_ids import entry_row_id, length_prefixed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

FEWEST_DAYS_KNOWN = MIN_TRANSACTION_ID_DAYS
"""A row keeps the expiry that it was written with, so that a larger ``transaction_id_days`` today says
nothing about usage that was sent again before."""
_CLOCK_DIFFERENCE = timedelta(hours=1)


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


OPEN_STATES = (State.OPEN, State.UNKNOWN)


@dataclass(slots=True)
class Failure:
    """One dimension of one record that was not billed.

    Attributes
    ----------
    created
        The record's sort key, as DynamoDB returns it, in any unit.
    dimension
        None if it is not text, in a record made by hand.
    quantity
        An int, unless the record was made by hand.
    recorded_at
        Time of the record in ms since 1970; None if ``created`` is not a time.
    """

    customer: str
    created: str
    dimension: str | None
    quantity: object
    reason: str
    recorded_at: int | None
    request_id: str | None = None
    state: State = State.UNKNOWN

    def add(self, quantity: object) -> None:
        """Add usage of the same dimension; what is not a whole number can never be billed, and stays."""
        if type(self.quantity) is int:
            self.quantity = self.quantity + quantity if type(quantity) is int else quantity

    @property
    def amount(self) -> int:
        """Quantity as it counts in the sums: 0 if it is not a whole number."""
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
    failures: Iterable[Failure], sent_again: Collection[str] | None, days_known: int, now: datetime
) -> None:
    """Set the state of each failure.

    Parameters
    ----------
    sent_again
        Ids of the rows that the idempotency table has, expired or not; None if it could not be read.
    days_known
        For how many days the API has known every id, at least. Usage is sent again after its record's time,
        so that a younger failure's row cannot be gone.
    """
    latest = (now - EPOCH + _CLOCK_DIFFERENCE) // timedelta(milliseconds=1)
    earliest = (now - EPOCH - timedelta(days=days_known)) // timedelta(milliseconds=1)
    for failure in failures:
        if failure.quantity == 0:
            failure.state = State.NOTHING
        elif sent_again is not None and failure.row_id in sent_again:
            failure.state = State.SENT_AGAIN
        elif failure.recorded_at is None or not earliest <= failure.recorded_at <= latest:
            failure.state = State.TOO_OLD
        else:
            failure.state = State.UNKNOWN if sent_again is None else State.OPEN


@dataclass(frozen=True)
class Resend:
    """Open failures, by what can be done about them."""

    send: list[Failure] = field(default_factory=list)
    """AWS certainly did not bill them, and nothing says that it would refuse them again."""
    correct: list[tuple[Failure, str]] = field(default_factory=list)
    """AWS certainly did not bill them, but they have to be corrected first, and how."""
    check: list[Failure] = field(default_factory=list)
    """AWS may have billed them."""


def to_resend(
    failures: Iterable[Failure], not_billed: Collection[str], dimensions: Collection[str]
) -> Resend:
    """Divide open failures by what can be done about them.

    Parameters
    ----------
    not_billed
        Doubtful reasons whose usage, as the seller knows, AWS did not bill.
    dimensions
        The product's dimensions; empty if they are not known.
    """
    resend = Resend()
    for failure in failures:
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
