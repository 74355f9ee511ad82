"""The canonical form of a request: equal for the same usage, in whatever order and notation it is sent."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from metering_handlers.contract.row_ids import length_prefixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from metering_handlers.contract.requests import Entry

DIGEST_VERSION = 1
"""To be raised when :func:`request_digest` or the canonical form changes."""


@dataclass(frozen=True, slots=True, eq=False)
class CanonicalEntry:
    """Usage of one customer: an entry with a ``transaction_id``, or the sum of all without.

    Attributes
    ----------
    quantities : Mapping[str, int]
        By dimension, sorted by its name.
    sent : int
        Entries of the request that it stands for.
    """

    customer: str
    transaction_id: str | None
    quantities: Mapping[str, int]
    sent: int

    @property
    def digest(self) -> str:
        """Digest of the usage alone, by which another usage under a known id is told."""
        return hashlib.sha256(_usage_bytes(self.quantities)).hexdigest()


def canonical_form(entries: Iterable[Entry]) -> list[CanonicalEntry]:
    """Add up each customer's entries without id; sort by customer and id, the sum without id first."""
    sums: dict[tuple[str, str | None], dict[str, int]] = {}
    sent: dict[tuple[str, str | None], int] = {}
    for entry in entries:
        key = (entry.customerIdentifier, entry.transaction_id)
        quantities = sums.setdefault(key, {})
        sent[key] = sent.get(key, 0) + 1
        for used in entry.metered_dimensions:
            quantities[used.dimension_name] = quantities.get(used.dimension_name, 0) + used.dimension_value
    return [
        CanonicalEntry(customer, transaction_id, dict(sorted(sums[key].items())), sent[key])
        # An id is never empty.
        for key in sorted(sums, key=lambda key: (key[0], key[1] or ""))
        for customer, transaction_id in [key]
    ]


def added_up(entries: Iterable[CanonicalEntry]) -> dict[str, int]:
    """Return the sum of each dimension, sorted by its name."""
    sums: dict[str, int] = {}
    for entry in entries:
        for name, quantity in entry.quantities.items():
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
        digest.update(length_prefixed(entry.customer, entry.transaction_id or ""))
        digest.update(_usage_bytes(entry.quantities))
    return f"{DIGEST_VERSION}:{digest.hexdigest()}"


def _usage_bytes(quantities: Mapping[str, int]) -> bytes:
    texts = [str(len(quantities))]
    for name, quantity in quantities.items():
        texts += [name, str(quantity)]
    return length_prefixed(*texts)
