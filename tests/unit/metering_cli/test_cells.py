"""What becomes of every spelling of a quantity and of an identifier."""

import pytest

from metering_cli.importing.cells import BadCellsError, parse_cells

GOOD = {"customerIdentifier": "ExWoL3vTir2", "dimension_name": "seats", "dimension_value": "1"}
TAKEN = ""

SPELLINGS = {
    "dimension_value": {
        TAKEN: ["0", "10", "007", "2147483647", "0" * 5000 + "1"],
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
    "customerIdentifier": {
        TAKEN: [
            *("ExWoL3vTir2", "012345678901", "c" * 128),
            "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
        ],
        "at most 128 characters": ["c" * 129],
        "fill it in": [""],
        "must be exactly 12 digits": [
            *("12345678901", "1234567890123", "12345678901.0", "123456789012.0", "123456789012,"),
            *("1.23457E+11", "1.23457E11", "1,23457E+11", "'012345678901", '"012345678901"'),
            *("123,456,789,012", "123.456.789.012", "1234-5678-9012"),
        ],
        "a formula": ['="012345678901"', "=A2"],
        "a spreadsheet's error": ["#N/A", "#NAME?"],
        "a missing value": ["nan", "NaN", "NULL", "null", "None", "N/A", "undefined", "(blank)", "TRUE", "-"],
        "a line of totals": ["Total", "TOTALS:", "Grand Total", "Subtotal", "Sum"],
        "printable ASCII": ["1234 5678 9012", "123456789012\u00a0", "\u200b123456789012", "Käufer"],
        "percent sign": ["a%2Fb"],
        "slash": ["lic//1"],
        "reserved name": ["__proto__"],
    },
    "transaction_id": {
        TAKEN: ["2026-11-23T10:seats", "123456789012345", "INV 42"],
        "fill it in": [""],
        "has rounded": ["1.23456789012345E+17"],
        "added decimals": ["42.0"],
        "a spreadsheet's error": ["#N/A"],
        "a missing value": ["nan"],
        "at most 255 characters": ["x" * 256],
        "printable ASCII": ["Größe"],
    },
    "dimension_name": {
        TAKEN: ["metered_1_id", "Sitzplätze pro Monat", "d" * 255],
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
    if refusal == TAKEN:
        used = parse_cells({**GOOD, column: text})
        assert getattr(used, column) == (int(text[-10:]) if column == "dimension_value" else text)
        return
    with pytest.raises(BadCellsError) as caught:
        parse_cells({**GOOD, column: text})
    assert [*caught.value.details] == [column]
    assert refusal in caught.value.details[column]
    assert len(caught.value.details[column]) < 300


def test_all_bad_cells_of_a_line_are_reported() -> None:
    with pytest.raises(BadCellsError) as caught:
        parse_cells({"customerIdentifier": "", "dimension_name": "seats", "dimension_value": "1.5"})

    assert [*caught.value.details] == ["customerIdentifier", "dimension_value"]
