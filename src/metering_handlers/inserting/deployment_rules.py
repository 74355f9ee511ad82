"""Rules that depend on the deployment. A request that is half written is completed all the same."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.contract.answers import Violation
from metering_handlers.contract.identifiers import IdentifierKind, identifier_kind
from metering_handlers.inserting.known_dimensions import unknown_dimensions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from metering_handlers.contract.requests import Entry
    from metering_handlers.inserting.subscribers import Subscribers

_KINDS = {
    IdentifierKind.LEGACY: "a customer identifier of the old form",
    IdentifierKind.ACCOUNT_ID: "an AWS account id",
    IdentifierKind.LICENSE_ARN: "a License ARN",
}


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

        ``at`` is the JSON pointer of an entry in the body, with ``{index}`` for its index. ``time_ms`` is the
        request's.

        Raises
        ------
        UnavailableError
            If the table of subscribers could not be read.
        """
        found = [*self._unaccepted_kinds(entries, at), *unknown_dimensions(self.dimensions, entries, at)]
        if found or self.subscribers is None:
            return found
        customers = dict.fromkeys(entry.customerIdentifier for entry in entries)
        unknown = self.subscribers.unknown(customers, time_ms, remaining_ms)
        detail = (
            "is not in the table of subscribers, so that the hourly job would never bill it; correct it, or "
            "send the usage when the buyer is registered"
        )
        return [
            _customer_violation(at, index, "unknown_customer", detail)
            for index, entry in enumerate(entries)
            if entry.customerIdentifier in unknown
        ]

    def _unaccepted_kinds(self, entries: Sequence[Entry], at: str) -> Iterator[Violation]:
        if len(self.identifier_kinds) == len(IdentifierKind):
            return
        accepted = " or ".join(_KINDS[kind] for kind in IdentifierKind if kind in self.identifier_kinds)
        for index, entry in enumerate(entries):
            kind = identifier_kind(entry.customerIdentifier)
            if kind not in self.identifier_kinds:
                detail = f"is {_KINDS[kind]}, which this deployment does not accept; send {accepted}"
                yield _customer_violation(at, index, "unaccepted_identifier_kind", detail)


def _customer_violation(at: str, index: int, code: str, detail: str) -> Violation:
    pointer = f"{at.format(index=index)}/customerIdentifier"
    return Violation(location="body" if at else "path", pointer=pointer, code=code, detail=detail)
