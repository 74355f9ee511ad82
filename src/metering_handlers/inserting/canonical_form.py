"""The canonical form of a request: equal for the same usage, in whatever order and notation it is sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.contract.row_ids import entry_row_id, length_prefixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from metering_handlers.contract.requests import Entry

DIGEST_VERSION = 1
"""To be raised when :func:`request_digest` or the canonical form changes."""


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalEntry:
    """Usage of one customer: an entry with a ``transaction_id``, or the sum of all without."""

    customer: str
    transaction_id: str
    """Empty for the sum of all entries without."""
    quantities: Mapping[str, int]
    """By dimension, sorted by its name."""
    sent: int
    """Entries of the request that it stands for."""

    @property
    def row_id(self) -> str:
        """Id of its row in the idempotency table, if it has a ``transaction_id``."""
        return entry_row_id(self.customer, self.transaction_id)

    @property
    def digest(self) -> str:
        """Digest of the usage alone: tells whether other usage is known under the same id."""
        return hashlib.sha256(_usage_bytes(self.quantities)).hexdigest()


def canonical_form(entries: Iterable[Entry]) -> list[CanonicalEntry]:
    """Add up each customer's entries without id; sort by customer and id, the sum without id first."""
    groups: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        groups.setdefault((entry.customerIdentifier, entry.transaction_id or ""), []).append(entry)
    form = []
    for (customer, transaction_id), group in sorted(groups.items()):
        used = (each for entry in group for each in entry.metered_dimensions)
        quantities = _sums((each.dimension_name, each.dimension_value) for each in used)
        form.append(CanonicalEntry(customer, transaction_id, quantities, len(group)))
    return form


def added_up(entries: Iterable[CanonicalEntry]) -> dict[str, int]:
    """Return the sum of each dimension, sorted by its name."""
    return _sums(used for entry in entries for used in entry.quantities.items())


def _sums(quantities: Iterable[tuple[str, int]]) -> dict[str, int]:
    sums: dict[str, int] = {}
    for name, quantity in quantities:
        sums[name] = sums.get(name, 0) + quantity
    return dict(sorted(sums.items()))


def request_digest(entries: Sequence[CanonicalEntry]) -> str:
    """Return the digest of a request's canonical form: ``{version}:{SHA-256 in hex}``.

    Hashed is, for each entry in order: the customer; the id, empty for none; the number of dimensions; and
    each dimension's name and quantity in decimal. Each of these is UTF-8, after its length in bytes (4 bytes,
    big endian), so that no two requests have the same bytes.
    """
    digest = hashlib.sha256()
    for entry in entries:
        digest.update(length_prefixed(entry.customer, entry.transaction_id))
        digest.update(_usage_bytes(entry.quantities))
    return f"{DIGEST_VERSION}:{digest.hexdigest()}"


def _usage_bytes(quantities: Mapping[str, int]) -> bytes:
    texts = [str(len(quantities))]
    for name, quantity in quantities.items():
        texts += [name, str(quantity)]
    return length_prefixed(*texts)
