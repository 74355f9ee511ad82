"""The dimensions of the seller's product, where the deployment names them."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from metering_handlers.contract.requests import violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metering_handlers.contract.answers import Violation
    from metering_handlers.contract.requests import Entry

FILE = Path(__file__).with_name("dimensions.json")
"""Written into the bundle from ``params.dimensions``: Lambda's environment takes 4 KB only ("Lambda quotas",
AWS Lambda Developer Guide), and 200 names of 60 characters are 12 KB."""

MAX_SUGGESTIONS = 10
"""Names looked up for one answer: each takes up to 50 ms with a function's share of a CPU, and a request can
have 250,000."""


def load(file: Path) -> frozenset[str] | None:
    """Return the names in a file, a JSON array; None if there is no file: any name is accepted then."""
    return frozenset(json.loads(file.read_bytes())) if file.exists() else None


def unknown_dimensions(known: frozenset[str], entries: Sequence[Entry], at: str) -> Iterator[Violation]:
    """Yield the names that the product does not have: a single one makes AWS refuse a customer's whole hour.

    The first few come with the most similar known name.
    """
    hints: dict[str, str] = {}
    for index, entry in enumerate(entries):
        for position, used in enumerate(entry.metered_dimensions):
            name = used.dimension_name
            if name in known:
                continue
            if name not in hints and len(hints) < MAX_SUGGESTIONS:
                nearest = get_close_matches(name, sorted(known), n=1, cutoff=0.7)
                hints[name] = f"; did you mean {nearest[0]}?" if nearest else ""
            member = f"metered_dimensions/{position}/dimension_name"
            detail = f"is not a dimension of the product{hints.get(name, '')}"
            yield violation(at, index, member, "unknown_dimension", detail)
