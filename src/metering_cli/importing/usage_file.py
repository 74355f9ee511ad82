"""The CSV file: validate and add up its lines, and divide the customers' records into bulk requests."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from metering_handlers.contract.identifiers import (  # noqa: TC001 - pydantic needs them
    CustomerIdentifier,
    DimensionName,
    Quantity,
)
from metering_handlers.contract.limits import MAX_DIMENSIONS, MAX_QUANTITY

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from pydantic_core import ErrorDetails

HEADER = ("customerIdentifier", "dimension_name", "dimension_value")

MAX_PART_RECORDS = 1_000
"""Records in one request: DynamoDB's index takes 1,000 in a second, and the API's function has 27 s."""
MAX_PART_BYTES = 1_000_000
"""Bytes of a request body: far below Lambda's 6 MB, even when escaped in the proxy event."""

_SPLIT = "split the file, and import the rest an hour later"
_DELIMITERS = ",;\t"


class UsageLine(BaseModel):
    """One line of the file: a customer's usage of one dimension."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    customerIdentifier: CustomerIdentifier  # noqa: N815 - the API's name
    dimension_name: DimensionName
    dimension_value: Quantity


@dataclass(frozen=True)
class BadLine:
    """One error in the file.

    Attributes
    ----------
    line : int
        Line number; the header is line 1.
    column : str or None
        Name of the column; None if the error concerns the whole line.
    detail : str
        What is wrong, and what to change.
    """

    line: int
    column: str | None
    detail: str


class BadLinesError(Exception):
    """The file cannot be imported as it is.

    Attributes
    ----------
    bad_lines : list of BadLine
        All errors, in the order of the lines.
    """

    def __init__(self, bad_lines: list[BadLine]) -> None:
        super().__init__(f"{len(bad_lines)} problem(s)")
        self.bad_lines = bad_lines


@dataclass(frozen=True)
class Part:
    """One bulk request.

    Attributes
    ----------
    number : int
        Number of the request; the file's first one is 1.
    body : bytes
        JSON body.
    records : int
        Number of records that it becomes: one for each customer.
    lines : tuple of int
        Numbers of the lines in it, ascending.
    """

    number: int
    body: bytes
    records: int
    lines: tuple[int, ...]


@dataclass(frozen=True)
class UsageFile:
    """A valid file.

    Attributes
    ----------
    lines : int
        Number of lines with usage.
    parts : tuple of Part
        Requests that import it; the same lines always result in the same requests.
    """

    lines: int
    parts: tuple[Part, ...]

    @property
    def records(self) -> int:
        """Number of records."""
        return sum(part.records for part in self.parts)

    @property
    def content(self) -> str:
        """SHA-256 of all request bodies; it does not depend on the file's name, delimiter or white space."""
        return hashlib.sha256(b"\n".join(part.body for part in self.parts)).hexdigest()


@dataclass
class _Record:
    customer: str
    dimensions: dict[str, int] = field(default_factory=dict)
    lines: list[int] = field(default_factory=list)

    def add(self, number: int, line: UsageLine) -> BadLine | None:
        """Add a line's usage; return the error if AWS would refuse all of the customer's usage for it."""
        name = line.dimension_name
        total = self.dimensions.get(name, 0) + line.dimension_value
        if name not in self.dimensions and len(self.dimensions) == MAX_DIMENSIONS:
            detail = f"AWS takes {MAX_DIMENSIONS} dimensions of a customer an hour: {_SPLIT}"
            return BadLine(number, "dimension_name", detail)
        if total > MAX_QUANTITY:
            detail = f"AWS takes {MAX_QUANTITY} of a customer's dimension an hour: {_SPLIT}"
            return BadLine(number, "dimension_value", detail)
        self.dimensions[name] = total
        self.lines.append(number)
        return None

    def json(self) -> bytes:
        entry = {
            "customerIdentifier": self.customer,
            "metered_dimensions": [
                {"dimension_name": name, "dimension_value": value} for name, value in self.dimensions.items()
            ],
        }
        return json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()


def read_usage_file(path: Path) -> UsageFile:
    """Read and validate a file.

    Parameters
    ----------
    path : Path
        A CSV file in UTF-8, with or without a byte order mark, whose header is ``HEADER``. The columns are
        separated by commas, or by the semicolons or tabs that spreadsheets write in many countries. White
        space around cells is removed; empty lines and empty cells after the last column are ignored.

    Returns
    -------
    UsageFile
        The file's requests.

    Raises
    ------
    BadLinesError
        If a line breaks a rule of the API or cannot be parsed, or a customer has more usage than AWS takes in
        an hour.
    OSError
        If the file cannot be read.
    """
    lines = _checked(_rows(_decoded(path.read_bytes())))
    return UsageFile(len(lines), _parts(_records(lines)))


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        detail = "is not UTF-8 text; save the spreadsheet as “CSV UTF-8”"
        raise BadLinesError([BadLine(line, None, detail)]) from error


def _rows(text: str) -> list[tuple[int, list[str] | BadLine]]:
    """Return line number and cells, or the error, of each line that is not empty."""
    header = text.lstrip().partition("\n")[0]
    delimiter = next((mark for mark in _DELIMITERS if mark in header), ",")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[tuple[int, list[str] | BadLine]] = []
    while True:
        number = reader.line_num + 1
        try:
            cells = [cell.strip() for cell in next(reader)]
        except StopIteration:
            return rows
        except csv.Error as error:
            rows.append(
                (number, BadLine(number, None, f"cannot be read ({error}); check its quotation marks"))
            )
            continue
        while len(cells) > len(HEADER) and not cells[-1]:
            cells.pop()
        if any(cells):
            rows.append((number, cells))


def _checked(rows: Sequence[tuple[int, list[str] | BadLine]]) -> list[tuple[int, UsageLine]]:
    wanted = ",".join(HEADER)
    if not rows:
        raise BadLinesError([BadLine(1, None, f"the file is empty; its first line must be {wanted}")])
    (first, header), *usage = rows
    if header != list(HEADER):
        raise BadLinesError([BadLine(first, None, f"the first line must be the header {wanted}")])
    lines: list[tuple[int, UsageLine]] = []
    bad_lines: list[BadLine] = []
    for number, cells in usage:
        if isinstance(cells, BadLine):
            bad_lines.append(cells)
        elif len(cells) != len(HEADER):
            detail = (
                f"has {len(cells)} columns, not {len(HEADER)}; put a cell with a comma into quotation marks"
            )
            bad_lines.append(BadLine(number, None, detail))
        else:
            try:
                line = UsageLine.model_validate_strings(dict(zip(HEADER, cells, strict=True)))
            except ValidationError as error:
                found = {str(one["loc"][0]): one for one in error.errors()}
                bad_lines += (BadLine(number, name, _detail(found[name])) for name in HEADER if name in found)
            else:
                lines.append((number, line))
    if bad_lines:
        raise BadLinesError(bad_lines)
    return lines


def _detail(error: ErrorDetails) -> str:
    given = error["input"]
    if not given:
        return "is empty; fill it in"
    if error["type"] == "int_parsing":
        rule = "must be a whole number such as 10, without separators, decimals or a unit"
    else:
        rule = error["msg"]
    return f"{given!r}: {rule}"


def _records(lines: Iterable[tuple[int, UsageLine]]) -> Iterable[_Record]:
    """Add up each customer's lines, as the API does with the entries of one request.

    The hourly job sends all of a customer's pending usage in one call, whatever requests it came in. The
    limits of that call are therefore the whole file's.
    """
    records: dict[str, _Record] = {}
    bad_lines: list[BadLine] = []
    for number, line in lines:
        customer = line.customerIdentifier
        if (bad_line := records.setdefault(customer, _Record(customer)).add(number, line)) is not None:
            bad_lines.append(bad_line)
    if bad_lines:
        raise BadLinesError(bad_lines)
    return records.values()


def _parts(records: Iterable[_Record]) -> tuple[Part, ...]:
    parts: list[Part] = []
    entries: list[bytes] = []
    lines: list[int] = []
    size = 0

    def close() -> None:
        if entries:
            body = b'{"buyers":[' + b",".join(entries) + b"]}"
            parts.append(Part(len(parts) + 1, body, len(entries), tuple(sorted(lines))))

    for record in records:
        entry = record.json()
        if len(entries) == MAX_PART_RECORDS or size + len(entry) > MAX_PART_BYTES:
            close()
            entries, lines, size = [], [], 0
        entries.append(entry)
        lines += record.lines
        size += len(entry)
    close()
    return tuple(parts)
