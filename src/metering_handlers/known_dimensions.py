"""The dimensions that the seller's product has, where the deployment names them."""

from __future__ import annotations

import json
from difflib import get_close_matches
from pathlib import Path

FILE = Path(__file__).with_name("dimensions.json")
"""Written into the bundle from ``params.dimensions``: Lambda's environment takes 4 KB only ("Lambda quotas",
AWS Lambda Developer Guide), and 200 names of 60 characters are 12 KB."""


def load(file: Path) -> frozenset[str] | None:
    """Return the names in a file, a JSON array; None if there is no file, and so any name is taken."""
    return frozenset(json.loads(file.read_bytes())) if file.exists() else None


KNOWN_DIMENSIONS = load(FILE)


def nearest(name: str, known: frozenset[str]) -> str | None:
    """Return the known name that is most like another one, if any is near."""
    return next(iter(get_close_matches(name, sorted(known), n=1, cutoff=0.7)), None)
