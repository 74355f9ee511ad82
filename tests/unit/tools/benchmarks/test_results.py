"""docs/performance.md beside the results of the last benchmark."""

import json

from tools.benchmarks.__main__ import PAGE, RESULTS
from tools.benchmarks.chart import MARKS
from tools.benchmarks.page import ROW, updated

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_has_the_numbers_of_the_last_results() -> None:
    assert updated(TEXT, json.loads(RESULTS.read_text())) == TEXT


def test_the_page_has_a_row_for_each_mark() -> None:
    marks = {key: mark for _, key, _, mark in ROW.findall(TEXT) if mark != "none"}

    assert marks == {key: f"{side} {limit:g}" for key, (limit, side) in MARKS.items()}
