"""Usage that was not billed, and whether it was sent again."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from metering_cli.wording import printable
from metering_handlers.contract.deployment import MIN_TRANSACTION_ID_DAYS
from metering_handlers.contract.queries import EPOCH
from metering_handlers.contract.row_ids import entry_row_id, length_prefixed

FEWEST_DAYS_KNOWN = MIN_TRANSACTION_ID_DAYS
"""A row keeps the expiry that it was written with, so that a larger ``transaction_id_days`` today says
nothing about usage that was sent again before."""
_CLOCK_DIFFERENCE = timedelta(hours=1)
_MAX_LISTED = 20


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
    """One dimension of one record that was not billed."""

    customer: str
    created: str
    """The record's sort key, as DynamoDB returns it, in any unit."""
    dimension: str | None
    """None if it is not text, in a record made by hand."""
    quantity: object
    """An int, unless the record was made by hand."""
    reason: str
    recorded_at: int | None
    """Time of the record in ms since 1970; None if ``created`` is not a time."""
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
    def row_id(self) -> str:
        """Id of the row that the idempotency table has once the usage was sent again."""
        return entry_row_id(self.customer, self.transaction_id)


def set_states(
    failures: Iterable[Failure], sent_again: Collection[str] | None, days_known: int, now: datetime
) -> None:
    """Set the state of each failure.

    ``sent_again`` are the ids of the rows that the idempotency table has, expired or not; None if it could
    not be read. ``days_known`` is for how many days the API has known every id, at least: usage is sent again
    after its record's time, so that a younger failure's row cannot be gone.
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


def by_reason(failures: Iterable[Failure]) -> str:
    """Count failures by reason, such as ``DuplicateRecord 2, Unprocessed 1``."""
    reasons = Counter(failure.reason for failure in failures)
    return ", ".join(f"{printable(reason)} {count:,}" for reason, count in sorted(reasons.items()))


def listed(lines: Iterable[str]) -> str:
    """Join lines, indented, each on a line of its own; after the first ones, only the number is given."""
    all_lines = list(lines)
    further = len(all_lines) - _MAX_LISTED
    shown = all_lines[:_MAX_LISTED] + ([f"and {further:,} more"] if further > 0 else [])
    return "".join(f"\n  {printable(line)}" for line in shown)
