"""The outcome of an import, as ``--json`` prints it and as people read it."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest

from metering_cli.importing.cells import shown
from metering_cli.importing.client import Known
from metering_cli.importing.usage_file import Line, Problem
from metering_cli.wording import counted

EXIT_CODES = {"imported": 0, "checked": 0, "problems": 1, "not_completed": 3, "interrupted": 130}
"""Exit code of each status; click itself exits with 2 for a wrong command line."""

_MAX_NAMED_LINES = 10
_LARGEST_LINES = 5


@dataclass
class FileSummary:
    """A file's share of an import; known lines were stored before."""

    file: str
    lines: int
    quantity: int
    known_lines: int
    known_quantity: int
    ignored_columns: list[str]


@dataclass
class Summary:
    """What ``--json`` prints; docs/usage-import.md says what each member means."""

    import_id: str | None
    status: str = "checked"
    lines: int = 0
    customers: int = 0
    dimensions: dict[str, int] = field(default_factory=dict)
    largest_lines: list[Line] = field(default_factory=list)
    files: list[FileSummary] = field(default_factory=list)
    lines_known: int = 0
    lines_written: int = 0
    lines_found_stored: int = 0
    problems: list[Problem] = field(default_factory=list)
    error: str | None = None

    def add_totals(self, lines: Sequence[Line]) -> None:
        """Set what finance compares with its own figures."""
        sums: Counter[str] = Counter()
        for line in lines:
            sums[line.dimension] += line.quantity
        self.lines = len(lines)
        self.customers = len({line.customer for line in lines})
        self.dimensions = dict(sorted(sums.items()))
        self.largest_lines = nlargest(_LARGEST_LINES, lines, key=lambda line: line.quantity)

    def add_file(self, name: str, lines: Sequence[Line], known: Known, ignored_columns: list[str]) -> None:
        """Add a file's lines, once it is known which of them are stored."""
        quantities = [line.quantity for line in lines]
        of_known = [line.quantity for line in lines if line.key in known]
        counts = (len(quantities), sum(quantities), len(of_known), sum(of_known))
        self.files.append(FileSummary(name, *counts, ignored_columns))
        self.lines_known += len(of_known)

    def stop(self, status: str, reason: str) -> None:
        """Note that not all is stored; until the status is ``imported``, nothing is."""
        outlook = (
            "Not all usage is in the table. Run the same command again: what is stored is skipped."
            if self.status == "imported"
            else "Nothing was written."
        )
        self.status, self.error = status, f"{reason} {outlook}"

    def error_texts(self) -> Iterator[str]:
        """Yield a line for each problem, and the reason why not all is stored."""
        for problem in self.problems:
            place = f"{problem.file}:{problem.line}" if problem.line else problem.file
            column = f"{problem.column}: " if problem.column else ""
            yield f"{place}: {column}{problem.detail}"
        if self.error:
            yield self.error

    def texts(self) -> Iterator[str]:
        """Yield the lines of the report."""
        for file in self.files:
            yield (
                f"{file.file}: {counted(file.lines, 'line')}, quantity {file.quantity:,}; stored before:"
                f" {counted(file.known_lines, 'line')}, quantity {file.known_quantity:,}"
            )
            if file.ignored_columns:
                yield f"{file.file}: ignored columns: {', '.join(map(shown, file.ignored_columns))}"
        if self.status == "checked":
            yield f"{counted(self.lines, 'line')} of {counted(self.customers, 'customer')}; sums:"
            yield from (f"  {dimension}: {quantity:,}" for dimension, quantity in self.dimensions.items())
            yield "Largest lines:"
            for line in self.largest_lines:
                yield f"  {line.file}:{line.number}: {line.customer}, {line.dimension}: {line.quantity:,}"
            yield f"Not written (--dry-run): {counted(self.lines - self.lines_known, 'new line')}."
        elif self.lines_written or self.status == "imported":
            yield f"Stored now: {counted(self.lines_written, 'line')}."
        if self.lines_found_stored:
            yield (
                f"{counted(self.lines_found_stored, 'line')} of these had been stored by an attempt without"
                " an answer, or by another import."
            )


def warnings(files: Mapping[str, Sequence[Line]], known: Known, import_id: str | None) -> Iterator[str]:
    """Yield what to look at before new lines are billed, and why there may be none."""
    first: dict[tuple[tuple[str, str, int], ...], str] = {}
    for name, lines in files.items():
        usage = tuple((line.customer, line.dimension, line.quantity) for line in lines)
        if (other := first.setdefault(usage, name)) != name:
            yield f"WARNING: {name} has the lines of {other}; they count as further usage."
        new = [str(line.number) for line in lines if line.key not in known]
        if not new:
            how = "under another --import-id" if import_id else "with ids of its own"
            yield (
                f"NOTHING NEW in {name}: all of its lines were stored before. If it is further usage that"
                f" looks the same, import it {how}."
            )
        elif import_id and len(new) < len(lines):
            more = ", …" if len(new) > _MAX_NAMED_LINES else ""
            yield (
                f"{name}: new lines are {', '.join(new[:_MAX_NAMED_LINES])}{more}. A line whose value was"
                " changed is new too, and is billed in addition to what was stored before."
            )
