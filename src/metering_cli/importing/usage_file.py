"""Usage files: lines with ids, and every problem by file, line and column."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from metering_cli.importing.cells import TRANSACTION_ID, BadCellsError, parse_cells, shown
from metering_cli.importing.tables import TableError, read_rows
from metering_cli.usage_format import HEADER
from metering_handlers.contract.row_ids import length_prefixed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

_REQUIRED = tuple(name for name in HEADER if name != TRANSACTION_ID)


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a file, which becomes one entry of a request."""

    file: str
    number: int
    customer: str
    dimension: str
    quantity: int
    transaction_id: str

    @property
    def key(self) -> tuple[str, str]:
        """What the API knows the entry by."""
        return self.customer, self.transaction_id


@dataclass(frozen=True)
class Problem:
    """A reason not to import the files; without a line it concerns the whole file."""

    file: str
    line: int | None
    column: str | None
    detail: str


class ProblemsError(Exception):
    """The files cannot be imported as they are: nothing was written."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__(f"{len(problems)} problem(s)")
        self.problems = problems


@dataclass(frozen=True)
class UsageFile:
    """A file's usage, and the columns that the import does not use."""

    name: str
    lines: list[Line] = field(default_factory=list)
    ignored_columns: list[str] = field(default_factory=list)


def derived_id(import_id: str, customer: str, dimension: str, quantity: int, occurrence: int) -> str:
    """Return the id of the n-th line that is like this, from 1. It never changes (docs/usage-import.md)."""
    parts = length_prefixed(import_id, customer, dimension, str(quantity), str(occurrence))
    return f"import-1-{hashlib.sha256(parts).hexdigest()}"


def read_usage(files: Iterable[tuple[str, bytes]], import_id: str | None) -> list[UsageFile]:
    """Read files, by name and content.

    Raises
    ------
    ProblemsError
        If a file cannot be read, a line breaks a rule, or an id occurs twice.
    """
    reader = _Reader(import_id)
    read = [reader.read(name, content) for name, content in files]
    if reader.problems:
        raise ProblemsError(reader.problems)
    return read


class _Reader:
    """Reads the files of one command, which count together."""

    def __init__(self, import_id: str | None) -> None:
        self.problems: list[Problem] = []
        self._import_id = import_id
        self._occurrences: Counter[tuple[str, str, int]] = Counter()
        self._by_key: dict[tuple[str, str], Line] = {}

    def read(self, name: str, content: bytes) -> UsageFile:
        file = UsageFile(name)
        try:
            (number, header), *rows = list(read_rows(content)) or [(1, [])]
            columns = self._columns(header, number)
            if not rows:
                raise TableError("has a header, but no usage")
        except TableError as error:
            self.problems.append(Problem(name, error.line, None, str(error)))
            return file
        used = columns.values()
        file.ignored_columns.extend(cell for index, cell in enumerate(header) if cell and index not in used)
        named = max(index for index, cell in enumerate(header) if cell) + 1
        for number, cells in rows:
            # 1,000 without quotation marks is two cells, even where an empty one follows.
            if len(cells) > len(header) or any(cells[named:]):
                detail = "has more cells than the header; put a cell with a separator into quotation marks"
                self.problems.append(Problem(name, number, None, detail))
                continue
            missing = [""] * (named - len(cells))
            self._add_line(
                file, number, {column: (cells + missing)[index] for column, index in columns.items()}
            )
        return file

    def _columns(self, header: Sequence[str], line: int) -> dict[str, int]:
        """Return the index of each column that the import uses."""
        if not header:
            raise TableError(f"is empty; its first line must be {','.join(HEADER)}")
        names = [_simplified(cell) for cell in header]
        found = {column: names.index(name) for column in HEADER if (name := _simplified(column)) in names}
        if missing := [column for column in _REQUIRED if column not in found]:
            detail = f"the header has no column {' and no column '.join(missing)}; it has "
            detail += ", ".join(shown(cell) for cell in header if cell)
        elif twice := [column for column in found if names.count(_simplified(column)) > 1]:
            detail = f"the header has more than one column {twice[0]}"
        elif TRANSACTION_ID in found and self._import_id is not None:
            detail = f"the lines have ids of their own, in the column {TRANSACTION_ID}: leave out --import-id"
        elif TRANSACTION_ID not in found and self._import_id is None:
            detail = (
                "the lines have no ids, without which sending them again could bill them twice: use"
                " --import-id with a name for this body of usage, such as its month; or, if your billing"
                f" software has an id for each piece of usage, add the column {TRANSACTION_ID}"
            )
        else:
            return found
        raise TableError(detail, line)

    def _add_line(self, file: UsageFile, number: int, cells: Mapping[str, str]) -> None:
        try:
            used = parse_cells(cells)
        except BadCellsError as error:
            self.problems += (Problem(file.name, number, *detail) for detail in error.details.items())
            return
        customer, dimension, quantity = used.customerIdentifier, used.dimension_name, used.dimension_value
        transaction_id = used.transaction_id
        if transaction_id is None:
            same = (customer, dimension, quantity)
            self._occurrences[same] += 1
            transaction_id = derived_id(self._import_id or "", *same, self._occurrences[same])
        line = Line(file.name, number, customer, dimension, quantity, transaction_id)
        first = self._by_key.setdefault(line.key, line)
        if first is not line:
            detail = (
                f"{shown(transaction_id)} is the id of {first.file}:{first.number} too, of the same customer;"
                " each line of a customer needs an id of its own"
            )
            self.problems.append(Problem(file.name, number, TRANSACTION_ID, detail))
        file.lines.append(line)


def _simplified(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()
