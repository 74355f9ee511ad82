"""The dimensions of the seller's product, where the deployment names them."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from metering_handlers.contract.requests import body_violation

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from metering_handlers.contract.answers import Violation
    from metering_handlers.contract.requests import Entry

FILE = Path(__file__).with_name("dimensions.json")
"""Written into the bundle from ``params.dimensions``: Lambda's environment takes 4 KB only ("Lambda quotas",
AWS Lambda Developer Guide), and 200 names of 60 characters are 12 KB."""

MAX_SUGGESTIONS = 10
"""Names looked up for one answer; each takes up to 50 ms with a function's share of a CPU."""


def load(file: Path) -> frozenset[str] | None:
    """Return the names in a file, a JSON array; None if there is no file: any name is accepted then."""
    return frozenset(json.loads(file.read_bytes())) if file.exists() else None


def unknown_dimensions(
    known: frozenset[str] | None, entries: Sequence[Entry], at: str
) -> Iterator[Violation]:
    """Yield the names that the product does not have: a single one makes AWS refuse a customer's whole hour.

    ``at`` is the JSON pointer of an entry in the body, with ``{index}`` for its index.
    """
    if known is None:
        return
    suggestions = Suggestions(known)
    for index, entry in enumerate(entries):
        for position, used in enumerate(entry.metered_dimensions):
            if used.dimension_name not in known:
                nearest = suggestions.nearest(used.dimension_name)
                hint = f"; did you mean {nearest}?" if nearest else ""
                yield body_violation(
                    f"{at.format(index=index)}/metered_dimensions/{position}/dimension_name",
                    "unknown_dimension",
                    f"is not a dimension of the product{hint}",
                )


class Suggestions:
    """Suggests known names for the unknown names in a request.

    Looked up for the first few names only: each takes milliseconds, and a request can have 250,000.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self._known = sorted(known)
        self._found: dict[str, str | None] = {}

    def nearest(self, name: str) -> str | None:
        """Return the most similar known name; None if no name is similar, or if too many were looked up."""
        if name not in self._found and len(self._found) < MAX_SUGGESTIONS:
            matches = get_close_matches(name, self._known, n=1, cutoff=0.7)
            self._found[name] = matches[0] if matches else None
        return self._found.get(name)
