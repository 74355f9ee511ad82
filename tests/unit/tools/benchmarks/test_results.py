"""docs/performance.md beside the results of the last benchmark."""

import json

from tools.benchmarks.published import PAGE, RESULTS, ROW, updated

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_has_the_numbers_of_the_last_results() -> None:
    results = json.loads(RESULTS.read_text())

    assert updated(TEXT, results) == TEXT
    assert {key for _, key, _, _ in ROW.findall(TEXT)} == results.keys() - {"machine"}
