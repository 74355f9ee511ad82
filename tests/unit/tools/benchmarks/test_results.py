"""docs/performance.md beside the results of the last benchmark."""

import json
import re

import pytest

from tools.benchmarks.__main__ import RESULTS
from tools.benchmarks.chart import MARKS
from tools.local_cloud.steps import PROJECT

PAGE = (PROJECT / "docs" / "performance.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `([\w.]+)` \|.*\| ([\d.]+) \| ([^|]+?) \|$", re.MULTILINE)
ROWS = {key: (float(measured), mark) for key, measured, mark in ROW.findall(PAGE)}


def test_the_page_has_a_row_for_each_mark() -> None:
    assert {key for key, (_, mark) in ROWS.items() if mark != "none"} == set(MARKS)


@pytest.mark.parametrize("key", ROWS)
def test_the_page_has_the_measured_ratio_and_the_mark(key: str) -> None:
    measured, mark = ROWS[key]

    assert measured == pytest.approx(json.loads(RESULTS.read_text())[key]["ratio"], abs=0.00501)
    if mark != "none":
        limit, side = MARKS[key]
        assert mark == f"{side} {limit:g}"
