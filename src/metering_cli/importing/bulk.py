"""Bulk requests: how lines are divided into them, and what AWS takes of one customer in an hour."""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, zip_longest

from metering_cli.importing.cells import DIMENSION, QUANTITY
from metering_cli.importing.usage_file import Line, Problem
from metering_cli.usage_format import HEADER
from metering_handlers.contract.answers import Violation
from metering_handlers.contract.limits import MAX_DIMENSIONS, MAX_QUANTITY

MAX_LINES = 2_000
"""Lines in one request: up to 2,000 records, of which the table's index takes 1,000 a second, and 4,000 write
units of rows. The API's function has 27 s."""
MAX_BYTES = 1_000_000
"""Bytes of a request body: far below Lambda's 6 MB, even when escaped in the proxy event."""


@dataclass(frozen=True)
class Request:
    """A bulk request: the lines are its entries, in this order."""

    lines: Sequence[Line]

    @cached_property
    def body(self) -> bytes:
        """The request's body."""
        entries = [
            {
                "customerIdentifier": line.customer,
                "metered_dimensions": [{"dimension_name": line.dimension, "dimension_value": line.quantity}],
                "transaction_id": line.transaction_id,
            }
            for line in self.lines
        ]
        return json.dumps({"buyers": entries}, ensure_ascii=False, separators=(",", ":")).encode()

    def problem(self, violation: Violation) -> Problem | None:
        """Name the line of a broken rule; None if the rule is not about an entry of this request."""
        match violation["pointer"].split("/"):
            case ["", "buyers", index, *members] if index.isdecimal() and int(index) < len(self.lines):
                column = next((member for member in members if member in HEADER), None)
                line = self.lines[int(index)]
                return Problem(line.file, line.number, column, violation["detail"])
        return None


def _exceeded(sums: Counter[str], line: Line) -> tuple[str, str] | None:
    """Return the column and the limit of a customer's hour that the line would exceed."""
    if line.dimension not in sums and len(sums) == MAX_DIMENSIONS:
        return DIMENSION, f"more than {MAX_DIMENSIONS} dimensions of a customer"
    if sums[line.dimension] + line.quantity > MAX_QUANTITY:
        return QUANTITY, f"more than {MAX_QUANTITY} of a customer's dimension"
    return None


def beyond_an_hour(new_lines: Iterable[Line]) -> Iterator[Problem]:
    """Yield the lines beyond what AWS takes of a customer in an hour: the hourly job sends all at once."""
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for line in new_lines:
        if exceeded := _exceeded(sums[line.customer], line):
            column, limit = exceeded
            detail = (
                f"AWS takes no {limit} in an hour: take such lines out, import the others, and an hour later"
                " import the whole file, of which what is known is skipped"
            )
            yield Problem(line.file, line.number, column, detail)
        else:
            sums[line.customer][line.dimension] += line.quantity


def divide(lines: Iterable[Line]) -> Iterator[Request]:
    """Divide lines into requests: a customer's together, as far as one request may have them.

    The API counts all of a request's entries against the limits of an hour, the known ones too. A customer
    with more has the rest in later requests.
    """
    parts: defaultdict[str, list[list[Line]]] = defaultdict(list)
    sums: dict[str, Counter[str]] = {}
    for line in lines:
        if line.customer not in sums or _exceeded(sums[line.customer], line):
            sums[line.customer] = Counter()
            parts[line.customer].append([])
        sums[line.customer][line.dimension] += line.quantity
        parts[line.customer][-1].append(line)
    for turn in zip_longest(*parts.values(), fillvalue=()):
        left = chain.from_iterable(turn)
        while taken := list(islice(left, MAX_LINES)):
            yield from _small_enough(Request(taken))


def _small_enough(request: Request) -> Iterator[Request]:
    half = len(request.lines) // 2
    if half and len(request.body) > MAX_BYTES:
        yield from _small_enough(Request(request.lines[:half]))
        yield from _small_enough(Request(request.lines[half:]))
    else:
        yield request
