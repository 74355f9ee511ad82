"""Usage files: lines with ids, and every problem by file, line and column."""

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from metering_cli.importing.cells import TRANSACTION_ID, BadCellsError, parse_cells, shown
from metering_cli.importing.tables import TableError, read_rows
from metering_cli.usage_format import HEADER
from metering_handlers.contract.row_ids import length_prefixed


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
        self.problems = problems


def derived_id(import_id: str, customer: str, dimension: str, quantity: int, occurrence: int) -> str:
    """Return the id of the n-th line that is like this, from 1. It never changes (docs/usage-import.md)."""
    parts = length_prefixed(import_id, customer, dimension, str(quantity), str(occurrence))
    return f"import-1-{hashlib.sha256(parts).hexdigest()}"


def read_usage(
    files: Iterable[tuple[str, bytes]], import_id: str | None
) -> tuple[list[Line], dict[str, list[str]]]:
    """Read files, by name and content: return their lines, and by file the columns that are not used.

    Raises ProblemsError if a file cannot be read, a line breaks a rule, or an id occurs twice.
    """
    lines: dict[tuple[str, str], Line] = {}
    ignored: dict[str, list[str]] = {}
    problems: list[Problem] = []
    occurrences: Counter[tuple[str, str, int]] = Counter()
    for name, content in files:
        try:
            (first, header), *rows = list(read_rows(content)) or [(1, [])]
            columns = _columns(header, first, import_id)
            if not rows:
                raise TableError("has a header, but no usage")
        except TableError as error:
            problems.append(Problem(name, error.line, None, str(error)))
            continue
        used = columns.values()
        ignored[name] = [cell for index, cell in enumerate(header) if cell and index not in used]
        for number, cells in rows:
            try:
                row = parse_cells(_used_cells(cells, columns, header))
            except BadCellsError as error:
                problems += (Problem(name, number, *detail) for detail in error.details.items())
                continue
            usage = (row.customerIdentifier, row.dimension_name, row.dimension_value)
            occurrences[usage] += 1
            line_id = row.transaction_id or derived_id(import_id or "", *usage, occurrences[usage])
            line = Line(name, number, *usage, line_id)
            other = lines.setdefault(line.key, line)
            if other is not line:
                detail = (
                    f"{shown(line_id)} is the id of {other.file}:{other.number} too, of the same customer;"
                    " each line of a customer needs an id of its own"
                )
                problems.append(Problem(name, number, TRANSACTION_ID, detail))
    if problems:
        raise ProblemsError(problems)
    return list(lines.values()), ignored


def _columns(header: Sequence[str], line: int, import_id: str | None) -> dict[str, int]:
    """Return the index of each column that the import uses."""
    if not header:
        raise TableError(f"is empty; its first line must be {','.join(HEADER)}")
    names = [_simplified(cell) for cell in header]
    found = {column: names.index(_simplified(column)) for column in HEADER if _simplified(column) in names}
    if missing := [column for column in HEADER if column not in found and column != TRANSACTION_ID]:
        detail = f"the header has no column {' and no column '.join(missing)}; it has "
        detail += ", ".join(shown(cell) for cell in header if cell)
    elif twice := [column for column in found if names.count(_simplified(column)) > 1]:
        detail = f"the header has more than one column {twice[0]}"
    elif TRANSACTION_ID in found and import_id is not None:
        detail = f"the lines have ids of their own, in the column {TRANSACTION_ID}: leave out --import-id"
    elif TRANSACTION_ID not in found and import_id is None:
        detail = (
            "the lines have no ids, without which sending them again could bill them twice: use"
            " --import-id with a name for this body of usage, such as its month; or, if your billing"
            f" software has an id for each piece of usage, add the column {TRANSACTION_ID}"
        )
    else:
        return found
    raise TableError(detail, line)


def _simplified(name: str) -> str:
    return re.sub(r"[\W_]+", "", name).casefold()


def _used_cells(cells: list[str], columns: Mapping[str, int], header: Sequence[str]) -> dict[str, str]:
    named = max(number for number, cell in enumerate(header, start=1) if cell)
    # 1,000 without quotation marks is two cells, even where an empty one follows.
    if len(cells) > len(header) or any(cells[named:]):
        detail = "has more cells than the header; put a cell with a separator into quotation marks"
        raise BadCellsError({None: detail})
    cells += [""] * (named - len(cells))
    return {column: cells[index] for column, index in columns.items()}
