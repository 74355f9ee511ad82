"""Rules that depend on the deployment. A request that is half written is completed all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.contract.identifiers import IdentifierKind, identifier_kind
from metering_handlers.contract.requests import violation
from metering_handlers.inserting.known_dimensions import unknown_dimensions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from metering_handlers.contract.answers import Violation
    from metering_handlers.contract.requests import Entry
    from metering_handlers.inserting.subscribers import Subscribers

_KINDS = {
    IdentifierKind.LEGACY: "a customer identifier of the old form",
    IdentifierKind.ACCOUNT_ID: "an AWS account id",
    IdentifierKind.LICENSE_ARN: "a License ARN",
}
_UNKNOWN_CUSTOMER = (
    "is not in the table of subscribers, so that the hourly job would never bill it; correct it, or send the "
    "usage when the buyer is registered"
)


@dataclass(frozen=True)
class DeploymentRules:
    """What this deployment accepts."""

    dimensions: frozenset[str] | None
    """The product's; None for any."""
    identifier_kinds: frozenset[IdentifierKind]
    subscribers: Subscribers | None
    """None if the table is not looked at."""

    def broken(
        self, entries: Sequence[Entry], at: str, time_ms: int, remaining_ms: Callable[[], int]
    ) -> list[Violation]:
        """Find what this deployment does not accept; look customers up only if all else is accepted.

        ``time_ms`` is the request's. Raises UnavailableError if the table of subscribers could not be read.
        """
        accepted = " or ".join(_KINDS[kind] for kind in IdentifierKind if kind in self.identifier_kinds)
        refused = {
            kind: f"is {_KINDS[kind]}, which this deployment does not accept; send {accepted}"
            for kind in set(IdentifierKind) - self.identifier_kinds
        }
        found: list[Violation] = []
        for index, entry in enumerate(entries if refused else ()):
            if detail := refused.get(identifier_kind(entry.customerIdentifier)):
                code = "unaccepted_identifier_kind"
                found.append(violation(at, index, "customerIdentifier", code, detail))
        if self.dimensions is not None:
            found += unknown_dimensions(self.dimensions, entries, at)
        if not found and self.subscribers is not None:
            customers = dict.fromkeys(entry.customerIdentifier for entry in entries)
            unknown = self.subscribers.unknown(customers, time_ms, remaining_ms)
            found += (
                violation(at, index, "customerIdentifier", "unknown_customer", _UNKNOWN_CUSTOMER)
                for index, entry in enumerate(entries)
                if entry.customerIdentifier in unknown
            )
        return found
