"""The rules of a usage file's cells: each refusal says what the cell looks like, and what to write."""

import re
from collections.abc import Mapping

from pydantic import ValidationError

from metering_cli.usage_format import HEADER, UsageLine
from metering_handlers.contract.limits import MAX_QUANTITY

CUSTOMER, DIMENSION, QUANTITY, TRANSACTION_ID = HEADER

_MAX_SHOWN_CHARACTERS = 60
_SCIENTIFIC = r"""[='"]*[0-9]+([.,][0-9]+)?[eE][+-]?[0-9]+"?"""
_MISSING = r"-*|n/?a|nan|null|nil|none|undefined|unknown|tbd|true|false|\(?(blank|empty)\)?"
_AS_TEXT = "format the column as text and enter it again"
_SPREADSHEETS_OWN = (
    ("#DATE .*", f"a date or time; {_AS_TEXT}"),
    ("#.*", "a spreadsheet's error; correct it"),
    ("=.*", "a formula; paste it as a value"),
)
_NO_CUSTOMER = (
    *_SPREADSHEETS_OWN,
    (_MISSING, "a missing value; fill it in"),
    (r"(grand |sub)?totals?:?|sum:?", "a line of totals; remove the line"),
)
_REFUSED = {
    CUSTOMER: _NO_CUSTOMER,
    DIMENSION: _SPREADSHEETS_OWN,
    QUANTITY: (
        *_SPREADSHEETS_OWN,
        (r".*[\u00a0\u2007\u2009\u202f].*", "a number with non-breaking spaces; remove them"),
        (r"\(.*\)|[-−–].*|.*[-−–]", "a negative quantity; usage cannot be taken back"),
        (r"\d{1,3}([.,'’ _]\d{3})+([.,]\d+)?", "a number with thousands separators; remove them"),
        (r"\d*[.,]\d*", "a decimal number; a quantity is a whole number"),
        (_SCIENTIFIC, "a number in scientific notation; format the column as a number without decimals"),
        ("[0-9]+", f"more than {MAX_QUANTITY}, which is what AWS takes of a customer's dimension an hour"),
        (r"\d+", "a number in other digits than 0 to 9"),
        (r"\d[\d_xXoObBa-fA-F]*", "a number as programs write it"),
        (r"[+'\"].*", "a number with a mark before it; remove the mark"),
        (r"\d.*", "a number with a unit or text; remove all but the digits"),
    ),
    TRANSACTION_ID: (
        *_NO_CUSTOMER,
        (_SCIENTIFIC, f"a number that a spreadsheet has rounded; {_AS_TEXT}"),
        (r"[0-9]+[.,]0+", "a whole number to which a program added decimals; export the column as text"),
    ),
}


class BadCellsError(Exception):
    """A row is no usage; ``details`` say for each bad column, or None for the row, what to write."""

    def __init__(self, details: Mapping[str | None, str]) -> None:
        self.details = details


def parse_cells(cells: Mapping[str, str]) -> UsageLine:
    """Return a row's usage; ``transaction_id`` may be missing, but not empty.

    Raises BadCellsError if a cell breaks a rule of the API, or is what spreadsheets and databases make of a
    value.
    """
    values: dict[str, str | int] = dict(cells)
    quantity = cells[QUANTITY].lstrip("0") or cells[QUANTITY][-1:]
    if re.fullmatch("[0-9]{1,10}", quantity) and int(quantity) <= MAX_QUANTITY:
        values[QUANTITY] = int(quantity)
    broken: dict[str, str] = {}
    try:
        line = UsageLine.model_validate(values)
    except ValidationError as error:
        broken = {str(one["loc"][0]): one["msg"] for one in error.errors()}
    details: dict[str | None, str] = {}
    for column, text in cells.items():
        forms = (form for pattern, form in _REFUSED[column] if re.fullmatch(pattern, text, re.I | re.S))
        if isinstance(values[column], int):
            continue
        if not text:
            details[column] = "is empty; fill it in"
        elif form := next(forms, None):
            details[column] = f"{shown(text)} looks like {form}"
        elif column == QUANTITY:
            details[column] = f"{shown(text)} is no whole number; write digits only, such as 1000"
        elif column in broken:
            details[column] = f"{shown(text)}: {broken[column]}"
    if details:
        raise BadCellsError(details)
    return line


def shown(text: str) -> str:
    """Quote the beginning of a file's text, with control characters escaped."""
    return repr(text if len(text) <= _MAX_SHOWN_CHARACTERS else text[:_MAX_SHOWN_CHARACTERS] + "…")
