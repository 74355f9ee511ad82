"""Every line is checked before anything is sent."""

from pathlib import Path

import pytest

from metering_cli.importing.usage_file import BadLinesError, read_usage_file
from tests.unit.metering_cli.conftest import HEADER, Importer, WriteCsv
from tests.unit.metering_cli.stub_api import StubApi


def bad_lines(path: Path) -> list[tuple[int, str | None, str]]:
    with pytest.raises(BadLinesError) as caught:
        read_usage_file(path)
    return [(bad.line, bad.column, bad.detail) for bad in caught.value.bad_lines]


def test_all_bad_lines_are_reported_with_their_numbers_and_nothing_is_sent(
    api: StubApi, importer: Importer, write_csv: WriteCsv
) -> None:
    path = write_csv(
        "ExWoL3vTir2,seats,10", ",seats,1.5", "with space,seats,1", "ExWoL3vTir2,seats", "good,seats,0"
    )

    outcome = importer.run(path)

    assert outcome.exit_code == 1
    assert outcome.summary["status"] == "bad_lines"
    assert [(bad["line"], bad["column"]) for bad in outcome.summary["bad_lines"]] == [
        (3, "customerIdentifier"),
        (3, "dimension_value"),
        (4, "customerIdentifier"),
        (5, None),
    ]
    assert "usage.csv:3: dimension_value: '1.5': must be a whole number" in outcome.stderr
    assert "usage.csv:3: customerIdentifier: is empty; fill it in" in outcome.stderr
    assert "4 problems in usage.csv. Nothing was sent." in outcome.stderr
    assert api.received == []
    assert not path.with_name("usage.csv.imported.jsonl").exists()


@pytest.mark.parametrize(
    ("line", "column", "advice"),
    [
        ("a%2Fb,seats,1", "customerIdentifier", "percent sign"),
        ("Käufer,seats,1", "customerIdentifier", "printable ASCII"),
        (f"{'c' * 129},seats,1", "customerIdentifier", "at most 128 characters"),
        (f"buyer,{'d' * 256},1", "dimension_name", "at most 255 characters"),
        ("buyer,,1", "dimension_name", "fill it in"),
        ("buyer,seats,", "dimension_value", "fill it in"),
        ("buyer,seats,-1", "dimension_value", "greater than or equal to 0"),
        ("buyer,seats,2147483648", "dimension_value", "less than or equal to 2147483647"),
        ("buyer,seats," + "9" * 5000, "dimension_value", "maximum"),
        ('buyer,seats,"1,000"', "dimension_value", "separators"),
        ("buyer,seats,1E+05", "dimension_value", "whole number"),
        ("1.23457E+11,seats,1", "customerIdentifier", "format the column as text"),
        ("12345678901,seats,1", "customerIdentifier", "format the column as text"),
    ],
)
def test_a_line_that_the_api_or_the_bill_would_reject_is_explained(
    write_csv: WriteCsv, line: str, column: str, advice: str
) -> None:
    [(number, where, detail)] = bad_lines(write_csv("buyer,fine,1", line))

    assert (number, where) == (3, column)
    assert advice in detail


@pytest.mark.parametrize(
    "identifier",
    [
        "ExWoL3vTir2",
        "012345678901",
        "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
        "c" * 128,
    ],
)
def test_every_kind_of_customer_is_taken(write_csv: WriteCsv, identifier: str) -> None:
    assert read_usage_file(write_csv(f"{identifier},seats,2147483647")).lines == 1


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "buyer,seats,1\nother,seats,2\n",
        "\ufeff" + HEADER + "buyer,seats,1\nother,seats,2\n",
        (HEADER + "buyer,seats,1\nother,seats,2").replace("\n", "\r\n"),
        (HEADER + "buyer,seats,1\nother,seats,2").replace("\n", "\r"),
        HEADER + '"buyer","seats","1"\n\n,,\nother , seats,\u00a02\n\n',
        (HEADER + "buyer,seats,1\nother,seats,2\n").replace(",", ";"),
        (HEADER + "buyer,seats,1\nother,seats,2\n").replace(",", "\t"),
        (HEADER + "buyer,seats,1\nother,seats,2\n").replace("\n", ",,\n"),
        "\n\n" + HEADER + "buyer,seats,1\nother,seats,2\n",
    ],
    ids=[
        "plain",
        "bom",
        "crlf",
        "cr",
        "quoted-blank-padded",
        "semicolons",
        "tabs",
        "empty-columns",
        "blank-first",
    ],
)
def test_however_a_spreadsheet_saves_the_lines_they_are_the_same_import(tmp_path: Path, content: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes(content.encode())

    usage = read_usage_file(path)

    assert [part.body for part in usage.parts] == [
        b'{"buyers":[{"customerIdentifier":"buyer","metered_dimensions":'
        b'[{"dimension_name":"seats","dimension_value":1}]},'
        b'{"customerIdentifier":"other","metered_dimensions":[{"dimension_name":"seats","dimension_value":2}]}]}'
    ]


def test_line_numbers_are_the_files_also_after_blank_lines_and_cells_of_several_lines(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(HEADER + '\nbuyer,"two\nlines",1\nbuyer,seats,x\n')

    assert [number for number, _, _ in bad_lines(path)] == [3, 5]


def test_a_quotation_mark_that_is_never_closed_is_found_where_it_was_opened(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(HEADER + 'buyer,seats,x\nbuyer,"seats,1\nbuyer,seats,1\n')

    found = bad_lines(path)

    assert [number for number, _, _ in found] == [2, 3]
    assert "cannot be read" in found[1][2]


@pytest.mark.parametrize(
    "first_line", ["customer,dimension,value", "dimension_name,customerIdentifier,dimension_value"]
)
def test_another_header_is_refused(tmp_path: Path, first_line: str) -> None:
    path = tmp_path / "usage.csv"
    path.write_text(f"{first_line}\nbuyer,seats,1\n")

    assert bad_lines(path) == [
        (1, None, "the first line must be the header customerIdentifier,dimension_name,dimension_value")
    ]


def test_an_empty_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.touch()

    assert "empty" in bad_lines(path)[0][2]


def test_a_file_in_another_encoding_is_refused_with_the_line_that_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "usage.csv"
    path.write_bytes((HEADER + "buyer,plätze,1\n").encode("cp1252"))

    [(number, _, detail)] = bad_lines(path)

    assert number == 2
    assert "UTF-8" in detail


def test_a_file_without_usage_sends_nothing_and_is_fine(
    api: StubApi, importer: Importer, write_csv: WriteCsv
) -> None:
    outcome = importer.run(write_csv())

    assert outcome.exit_code == 0
    assert api.received == []
