"""docs/performance.md beside the results of the last benchmark."""

import json

from tools.benchmarks.published import PAGE, RESULTS, targets, updated

TEXT = PAGE.read_text(encoding="utf-8")


def test_the_page_has_the_numbers_of_the_last_results() -> None:
    results = json.loads(RESULTS.read_text())

    assert updated(TEXT, results) == TEXT
    assert targets(TEXT).keys() == results.keys() - {"machine", "peer.cold_start_as_usual"}
