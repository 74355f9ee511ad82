"""Usage files: every format and spelling of spreadsheets, headers, ids, and where problems are."""

import gzip
import io
import random
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta

import pytest
from openpyxl import Workbook
from openpyxl.worksheet.formula import ArrayFormula

from metering_cli.importing.cells import BadCellsError, parse_cells
from metering_cli.importing.usage_file import Line, Problem, ProblemsError, derived_id, read_usage
from tests.unit.metering_cli.conftest import HEADER, WITH_IDS

TWO = HEADER + "buyer,seats,1\nother,seats,2\n"
COLUMNS = HEADER.strip().split(",")


def read(*contents: str | bytes, import_id: str | None = "2026-11") -> list[Line]:
    encoded = [content.encode() if isinstance(content, str) else content for content in contents]
    lines, _ = read_usage([(f"{number}.csv", one) for number, one in enumerate(encoded, start=1)], import_id)
    return lines


def problems(*contents: str | bytes, import_id: str | None = "2026-11") -> list[Problem]:
    with pytest.raises(ProblemsError) as caught:
        read(*contents, import_id=import_id)
    return caught.value.problems


def workbook(*sheets: Sequence[Sequence[object]]) -> bytes:
    book = Workbook()
    book.remove(book.worksheets[0])
    for number, rows in enumerate(sheets, start=1):
        sheet = book.create_sheet(f"Sheet{number}")
        for row in rows:
            sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(TWO, id="plain"),
        pytest.param("\ufeff" + TWO, id="byte-order-mark"),
        pytest.param(TWO.strip().replace("\n", "\r\n"), id="crlf"),
        pytest.param(TWO.strip().replace("\n", "\r"), id="cr"),
        pytest.param(HEADER + '"buyer","seats","1"\n\n,,\nother , seats,\t2\n\n', id="quoted-padded"),
        pytest.param(TWO.replace(",", ";"), id="semicolons"),
        pytest.param(TWO.replace(",", "\t"), id="tabs"),
        pytest.param(TWO.replace("\n", ",,\n"), id="empty-columns"),
        pytest.param("\n\n" + TWO, id="blank-lines-first"),
        pytest.param(TWO.encode("utf-16"), id="utf-16"),
        pytest.param(b"\xfe\xff" + TWO.replace(",", "\t").encode("utf-16-be"), id="utf-16-be"),
        pytest.param(
            "Note;Dimension Value;CUSTOMER IDENTIFIER;dimension-name\n;1;buyer;seats\nx;2;other;seats\n",
            id="other-header",
        ),
        pytest.param(workbook([COLUMNS, ["buyer", "seats", 1], ["other", "seats", "2"]], []), id="xlsx"),
        pytest.param(
            workbook([COLUMNS, [], ["buyer", "seats", 1.0], [None], ["other", "seats", 2, None]]),
            id="xlsx-gaps",
        ),
    ],
)
def test_every_format_of_a_spreadsheet_gives_the_same_lines(content: str | bytes) -> None:
    assert [(line.customer, line.dimension, line.quantity) for line in read(content)] == [
        ("buyer", "seats", 1),
        ("other", "seats", 2),
    ]


@pytest.mark.parametrize(
    ("content", "line", "detail"),
    [
        ("", None, "is empty"),
        (HEADER, None, "no usage"),
        ("customer,dimension,value\nbuyer,seats,1\n", 1, "no column customerIdentifier and no column"),
        ("customerIdentifier,dimension_name\nbuyer,seats\n", 1, "no column dimension_value; it has"),
        ("buyer,seats,1\n", 1, "it has 'buyer', 'seats', '1'"),
        (HEADER.strip() + ",Dimension Name\nb,s,1,s\n", 1, "more than one column dimension_name"),
        (TWO.replace("seats", "plätze").encode("cp1252"), 2, "is not UTF-8 text"),
        (TWO.encode("utf-16-le"), None, "UTF-16 without a byte order mark"),
        (TWO.encode("utf-32"), None, "UTF-32"),
        (gzip.compress(TWO.encode(), mtime=0), None, "gzip"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", None, "old or encrypted Excel workbook"),
        (b"%PDF-1.7", None, "PDF"),
        (b"PK\x03\x04 and so on", None, "damaged workbook"),
        # The id of a workbook would have the time in it.
        pytest.param(
            workbook([COLUMNS], [["notes"]]), None, "2 sheets with content ('Sheet1', 'Sheet2')", id="sheets"
        ),
        (HEADER + 'buyer,"seats,1\nbuyer,seats,1\n', 2, "check its quotation marks"),
        # 1,000 without quotation marks would be 1, and the rest in a column that is ignored.
        (HEADER.strip() + ",Note\nbuyer,seats,1,000,\nbuyer,seats,1,\n", 2, "more cells than the header"),
        (HEADER.strip() + ",\nbuyer,seats,1,000\nbuyer,seats,1,\n", 2, "more cells than the header"),
    ],
)
def test_a_file_that_is_no_table_of_usage_is_refused(content: str | bytes, line: int, detail: str) -> None:
    [problem] = problems(content)

    assert (problem.file, problem.line, problem.column) == ("1.csv", line, None)
    assert detail in problem.detail


SPELLINGS = {
    "dimension_value": {
        "": ["0", "10", "007", "2147483647", "0" * 5000 + "1"],
        "more than 2147483647": ["2147483648", "9" * 5000],
        "fill it in": [""],
        "thousands separators": [
            *("1.000", "250.000", "1,000", "1,234,567", "1.234,50", "1'000", "1’000", "1 000", "1_000"),
        ],
        "non-breaking spaces": ["1\u00a0000", "1\u202f000", "10\u00a0"],
        "a decimal number": ["1.5", "1,5", "10.0", ".5", "5."],
        "scientific notation": ["1E+05", "1e3", "1,5E+05"],
        "a negative quantity": ["-1", "−1", "1-", "(100)", "-"],
        "a mark before it": ["+5", "'10", '"10"'],
        "a formula": ["=A1+B2", "=SUM(C2:C9)"],
        "a spreadsheet's error": ["#N/A", "#REF!"],
        "a date": ["#DATE 2026-11-23 00:00:00"],
        "a unit or text": ["10 GB", "10%", "10 units", "1\n2"],
        "as programs write it": ["1_0", "0x1F"],
        "other digits": ["١٢", "１２"],
        "no whole number": ["½", "²", "$10", "nan", "NULL", "inf", "TRUE", "ten", "∞"],
    },
    # The spellings that the API itself refuses are in tests/unit/inserting/.
    "customerIdentifier": {
        "": ["ExWoL3vTir2", "012345678901", "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"],
        "at most 128 characters": ["c" * 129],
        "fill it in": [""],
        "must be exactly 12 digits": ["12345678901", "1.23457E+11", "'012345678901", "123,456,789,012"],
        "a formula": ['="012345678901"', "=A2"],
        "a spreadsheet's error": ["#N/A", "#NAME?"],
        "a missing value": ["nan", "NaN", "NULL", "null", "None", "N/A", "undefined", "(blank)", "TRUE", "-"],
        "a line of totals": ["Total", "TOTALS:", "Grand Total", "Subtotal", "Sum"],
        "printable ASCII": ["1234 5678 9012", "123456789012\u00a0", "Käufer"],
    },
    "transaction_id": {
        "": ["2026-11-23T10:seats", "123456789012345", "INV 42"],
        "fill it in": [""],
        "has rounded": ["1.23456789012345E+17"],
        "added decimals": ["42.0"],
        "a spreadsheet's error": ["#N/A"],
        "a missing value": ["nan"],
        "at most 255 characters": ["x" * 256],
        "printable ASCII": ["Größe"],
    },
    "dimension_name": {
        "": ["metered_1_id", "Sitzplätze pro Monat", "d" * 255],
        "at most 255 characters": ["d" * 256],
        "fill it in": [""],
        "a formula": ["=B2"],
        "a spreadsheet's error": ["#REF!"],
        "a date": ["#DATE 2026-11-01 00:00:00"],
        "white space at its ends": ["seats\u00a0"],
        "reserved name": ["constructor"],
    },
}


@pytest.mark.parametrize(
    ("column", "text", "refusal"),
    [
        pytest.param(column, text, refusal, id=f"{column}-{text[:30]!a}")
        for column, outcomes in SPELLINGS.items()
        for refusal, texts in outcomes.items()
        for text in texts
    ],
)
def test_a_spelling_is_taken_or_refused_with_what_it_looks_like(column: str, text: str, refusal: str) -> None:
    cells = {
        "customerIdentifier": "ExWoL3vTir2",
        "dimension_name": "seats",
        "dimension_value": "1",
        column: text,
    }
    if not refusal:
        assert getattr(parse_cells(cells), column) == (
            int(text[-10:]) if column == "dimension_value" else text
        )
        return
    with pytest.raises(BadCellsError) as caught:
        parse_cells(cells)
    assert [*caught.value.details] == [column]
    assert refusal in caught.value.details[column]
    assert len(caught.value.details[column]) < 300


@pytest.mark.parametrize(
    ("cells", "column", "detail"),
    [
        (["buyer", "seats", "=1+1"], "dimension_value", "a formula"),
        (["buyer", "seats", 1.5], "dimension_value", "a decimal number"),
        (["buyer", "seats", -1], "dimension_value", "a negative quantity"),
        (["buyer", "seats", True], "dimension_value", "no whole number"),
        (["buyer", "seats", timedelta(hours=37)], "dimension_value", "a date or time"),
        (["buyer", "seats", ArrayFormula("C2", "=A1:A9")], "dimension_value", "a formula"),
        (["buyer", datetime(2026, 11, 1), 1], "dimension_name", "a date"),
        ([12345678901, "seats", 1], "customerIdentifier", "exactly 12 digits"),
        (["buyer", "#N/A", 1], "dimension_name", "a spreadsheet's error"),
        (["buyer", "seats", 1, 12345678901234567], "transaction_id", "has rounded"),
    ],
)
def test_a_workbooks_cell_is_not_taken_for_what_it_looks_like(
    cells: list[object], column: str, detail: str
) -> None:
    header = [*COLUMNS, "transaction_id"][: len(cells)]
    [problem] = problems(workbook([header, cells]), import_id=None if len(cells) == 4 else "x")

    assert (problem.line, problem.column) == (2, column)
    assert detail in problem.detail


def five_rows(old: bytes, new: bytes) -> bytes:
    """Return a workbook with five rows of usage, 0 to 4, in which a part of the XML is replaced."""
    content = workbook([COLUMNS, *(["buyer", "seats", number] for number in range(5))])
    packed = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(content)) as before, zipfile.ZipFile(packed, "w") as after:
        assert old in before.read("xl/worksheets/sheet1.xml")
        for name in before.namelist():
            after.writestr(name, before.read(name).replace(old, new))
    return packed.getvalue()


def test_rows_beyond_a_workbooks_stated_dimensions_are_read() -> None:
    """Some programs state the dimensions of an empty sheet."""
    assert len(read(five_rows(b'ref="A1:C6"', b'ref="A1:C2"'))) == 5


def test_a_workbooks_number_may_have_any_number_of_digits() -> None:
    [problem] = problems(five_rows(b"<v>4</v>", b"<v>%s</v>" % (b"1" * 400)))

    assert (problem.line, problem.column) == (6, "dimension_value")


def test_no_damage_of_a_workbook_ends_in_a_traceback() -> None:
    content = workbook([COLUMNS, *(["buyer", "seats", number] for number in range(5))])
    chance = random.Random(20)  # noqa: S311 - no secret
    for _ in range(300):
        damaged = bytearray(content)
        for _ in range(chance.randrange(1, 20)):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        with suppress(ProblemsError):
            read(bytes(damaged))


def test_problems_are_named_by_file_line_and_column() -> None:
    bad = HEADER + '\nbuyer,"two\nlines",1\n,seats,x\nbuyer,seats\nbuyer,seats,1,5\nbuyer,seats,\u00a02\n'

    assert [(one.file, one.line, one.column) for one in problems(TWO, bad)] == [
        ("2.csv", 3, "dimension_name"),
        ("2.csv", 5, "customerIdentifier"),
        ("2.csv", 5, "dimension_value"),
        ("2.csv", 6, "dimension_value"),
        ("2.csv", 7, None),
        ("2.csv", 8, "dimension_value"),
    ]


def test_ids_are_a_column_or_derived_never_both_never_neither() -> None:
    with_ids = WITH_IDS + "buyer,seats,1,a\n"

    assert "use --import-id" in problems(TWO, import_id=None)[0].detail
    assert "leave out --import-id" in problems(with_ids)[0].detail
    assert problems(with_ids + "buyer,seats,1,\n", import_id=None)[0].column == "transaction_id"
    assert [line.transaction_id for line in read(with_ids, import_id=None)] == ["a"]


def test_an_id_of_one_customer_occurs_once_in_all_files() -> None:
    first = WITH_IDS + "one,seats,1,a\ntwo,seats,1,a\none,seats,1,b\n"

    [problem] = problems(first, WITH_IDS + "one,storage,2,a\n", import_id=None)

    assert (problem.file, problem.line, problem.column) == ("2.csv", 2, "transaction_id")
    assert "1.csv:2" in problem.detail


def test_a_derived_id_never_changes() -> None:
    """Another id for the same line would bill it a second time."""
    digest = "28077e7a04f90f6048ae4d7be583f6516d334bfb1bc8d1a883e5a595809cac19"
    assert derived_id("2026-11", "ExWoL3vTir2", "Plätze", 10, 2) == f"import-1-{digest}"


def test_derived_ids_depend_on_usage_alone_not_on_place_or_order() -> None:
    lines = ["one,seats,1", "one,seats,1", "one,seats,2", "two,seats,1", "one,storage,1"]
    ids = {line.transaction_id for line in read(HEADER + "\n".join(lines))}
    reordered = read(HEADER + "\n".join(lines[:1:-1]), HEADER + "\n".join(lines[:2]))
    renamed = read(HEADER + "\n".join(lines), import_id="2026-12")

    assert len(ids) == 5
    assert {line.transaction_id for line in reordered} == ids
    assert not {line.transaction_id for line in renamed} & ids
