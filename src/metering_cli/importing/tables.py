"""The rows of a CSV file or of an Excel workbook, as text."""

from __future__ import annotations

import codecs
import csv
import io
import re
import warnings
import zlib
from itertools import chain
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from openpyxl import load_workbook
from openpyxl.utils.exceptions import InvalidFileException
from openpyxl.worksheet.formula import ArrayFormula, DataTableFormula

if TYPE_CHECKING:
    from collections.abc import Iterator

    from openpyxl.cell.cell import Cell, MergedCell
    from openpyxl.cell.read_only import EmptyCell, ReadOnlyCell

Row = tuple[int, list[str]]
"""Line number, the file's first line being 1, and cells."""

_FORMATS = {
    b"\xd0\xcf\x11\xe0": "is an old or encrypted Excel workbook; save it as .xlsx without a password",
    b"\x1f\x8b": "is compressed (gzip); unpack it first",
    b"%PDF": "is a PDF document; export the usage as CSV or .xlsx",
    codecs.BOM_UTF32_LE: "is UTF-32 text; save it as UTF-8",
}
_WORKBOOK = b"PK\x03\x04"
_MAX_EXACT = 10**15
"""Excel keeps 15 digits of a number ("Excel specifications and limits")."""


class TableError(Exception):
    """A file cannot be read as a table; the message says what it is, and what to do."""

    def __init__(self, detail: str, line: int | None = None) -> None:
        super().__init__(detail)
        self.line = line


def read_rows(content: bytes) -> Iterator[Row]:
    """Yield the rows that are not empty, without white space around cells.

    A workbook's formulas begin with ``=``, its errors, dates and times with ``#``, and a number of more
    digits than Excel keeps is in scientific notation, so that none of them is taken for what it looks like.

    Raises
    ------
    TableError
        If the file is neither CSV in UTF-8, or UTF-16 with a byte order mark, nor a workbook with one sheet.
    """
    for mark, detail in _FORMATS.items():
        if content.startswith(mark):
            raise TableError(detail)
    rows = _workbook_rows(content) if content.startswith(_WORKBOOK) else _csv_rows(_decoded(content))
    for number, row in rows:
        # Only these: a non-breaking space is often a thousands separator.
        cells = [cell.strip(" \t\r\n") for cell in row]
        if any(cells):
            yield number, cells


def _decoded(content: bytes) -> str:
    has_utf16_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if has_utf16_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TableError("is not UTF-8 text; save the spreadsheet as “CSV UTF-8” or .xlsx", line) from error
    if "\0" in text:
        raise TableError("is not text, or UTF-16 without a byte order mark; save it as “CSV UTF-8” or .xlsx")
    return text


def _csv_rows(text: str) -> Iterator[Row]:
    header = re.match(r"\s*([^\r\n]*)", text)
    delimiter = max(",;\t", key=header[1].count) if header else ","
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    while True:
        number = reader.line_num + 1
        try:
            yield number, next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise TableError(f"cannot be read ({error}); check its quotation marks", number) from error


def _workbook_rows(content: bytes) -> Iterator[Row]:
    try:
        with warnings.catch_warnings():
            # Of styles and extensions that openpyxl does not know.
            warnings.simplefilter("ignore")
            sheets = _sheets(content)
    # What openpyxl raises for damaged workbooks.
    except (
        *(ArithmeticError, AttributeError, BadZipFile, EOFError, InvalidFileException, LookupError),
        *(NotImplementedError, OSError, SyntaxError, TypeError, ValueError, zlib.error),
    ) as error:
        raise TableError("is a damaged workbook, or not one; save it again as .xlsx or CSV") from error
    if len(sheets) > 1:
        names = ", ".join(repr(name) for name in sheets)
        raise TableError(f"has {len(sheets)} sheets with content ({names}); save the one with usage alone")
    return chain.from_iterable(sheets.values())


def _sheets(content: bytes) -> dict[str, list[Row]]:
    """Return the rows of the sheets that are not empty, by the sheet's name."""
    sheets = {}
    for sheet in load_workbook(io.BytesIO(content), read_only=True).worksheets:
        # The dimensions that a workbook states may be too small; rows beyond them would be lost.
        sheet.reset_dimensions()
        rows = [
            (number, [_text(cell) for cell in row[: max(used) + 1]])
            for number, row in enumerate(sheet.iter_rows(), start=1)
            if (used := [index for index, cell in enumerate(row) if cell.value is not None])
        ]
        if rows:
            sheets[sheet.title] = rows
    return sheets


def _text(cell: Cell | MergedCell | ReadOnlyCell | EmptyCell) -> str:
    value = cell.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        if abs(value) >= _MAX_EXACT:
            return f"{value:.14E}"
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, str):
        return value
    return "=…" if isinstance(value, ArrayFormula | DataTableFormula) else f"#DATE {value}"
