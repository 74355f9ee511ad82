"""The rows of a CSV file or of an Excel workbook, as text."""

import codecs
import csv
import io
import re
import warnings
from collections.abc import Iterator, Sequence
from decimal import Decimal

from openpyxl import load_workbook
from openpyxl.worksheet.formula import ArrayFormula, DataTableFormula

Row = tuple[int, list[str]]

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
    """Yield line number, from 1, and cells of each row that is not empty, without white space around cells.

    A workbook's formulas begin with ``=``, its errors, dates and times with ``#``, and a number of more
    digits than Excel keeps is in scientific notation, so that none of them is taken for what it looks like.
    Raises TableError if the file is neither CSV in UTF-8, or UTF-16 with a byte order mark, nor a workbook
    with one sheet.
    """
    for mark, detail in _FORMATS.items():
        if content.startswith(mark):
            raise TableError(detail)
    for number, row in _workbook_rows(content) if content.startswith(_WORKBOOK) else _csv_rows(content):
        # Only these: a non-breaking space is often a thousands separator.
        cells = [cell.strip(" \t\r\n") for cell in row]
        if any(cells):
            yield number, cells


def _csv_rows(content: bytes) -> Iterator[Row]:
    has_utf16_mark = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if has_utf16_mark else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TableError("is not UTF-8 text; save the spreadsheet as “CSV UTF-8” or .xlsx", line) from error
    if "\0" in text:
        raise TableError("is not text, or UTF-16 without a byte order mark; save it as “CSV UTF-8” or .xlsx")
    header = re.split(r"[\r\n]", text.lstrip(), maxsplit=1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=header.count), strict=True)
    number = 1
    try:
        for row in reader:
            yield number, row
            number = reader.line_num + 1
    except csv.Error as error:
        raise TableError(f"cannot be read ({error}); check its quotation marks", number) from error


def _workbook_rows(content: bytes) -> list[Row]:
    sheets: dict[str, list[tuple[int, Sequence[object]]]] = {}
    try:
        with warnings.catch_warnings():
            # Of styles and extensions that openpyxl does not know.
            warnings.simplefilter("ignore")
            for sheet in load_workbook(io.BytesIO(content), read_only=True).worksheets:
                # The dimensions that a workbook states may be too small; rows beyond them would be lost.
                sheet.reset_dimensions()
                for number, values in enumerate(sheet.iter_rows(values_only=True), start=1):
                    # Cells that only have a format follow.
                    if used := [end for end, value in enumerate(values, start=1) if value not in (None, "")]:
                        sheets.setdefault(sheet.title, []).append((number, values[: used[-1]]))
    # openpyxl alone runs here: it does not check what a damaged workbook holds, and fails with any class.
    except Exception as error:
        raise TableError("is a damaged workbook, or not one; save it again as .xlsx or CSV") from error
    if len(sheets) > 1:
        names = ", ".join(repr(name) for name in sheets)
        raise TableError(f"has {len(sheets)} sheets with content ({names}); save the one with usage alone")
    return [
        (number, [_text(value) for value in values]) for rows in sheets.values() for number, values in rows
    ]


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, int | float):
        if abs(value) >= _MAX_EXACT:
            # Formatting an int of more than 308 digits fails.
            return f"{Decimal(value):.14E}"
        return str(int(value)) if value == int(value) else repr(value)
    if isinstance(value, str):
        return value
    return "=…" if isinstance(value, ArrayFormula | DataTableFormula) else f"#DATE {value}"
