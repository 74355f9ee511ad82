"""The command: what it sends, prints and ends with."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.unit.metering_cli.conftest import FOUR, FOUR_STORED, HEADER, KEY, PROJECT, Importer
from tests.unit.metering_cli.stub_api import Answer, StoreBut, problem, violation

WITH_IDS = HEADER.strip() + ",transaction_id\n"
MANY = [f"customer-{number},seats,{number}" for number in range(5_000)]
PROGRAM_SECONDS = 30


def test_every_line_is_checked_then_stored_as_an_entry(importer: Importer) -> None:
    path = importer.csv(*FOUR)

    outcome = importer.run(path)

    assert outcome.exit_code == 0
    [file] = outcome.summary.pop("files")
    assert [line["number"] for line in outcome.summary.pop("largest_lines")] == [4, 3, 2, 5]
    assert outcome.summary == {
        "import_id": "2026-11",
        "status": "imported",
        "error": None,
        "problems": [],
        "lines": 4,
        "customers": 2,
        "dimensions": {"seats": 4, "storage": 3},
        "lines_known": 0,
        "lines_written": 4,
        "lines_found_stored": 0,
    }
    assert file == {
        "file": str(path),
        "lines": 4,
        "quantity": 7,
        "ignored_columns": [],
        "known_lines": 0,
        "known_quantity": 0,
    }
    assert importer.api.usage() == FOUR_STORED
    assert [request.path for request in importer.api.received] == [
        "/prod/insertMeteringRecords?dry_run=true",
        "/prod/insertMeteringRecords",
    ]
    assert not any("Idempotency-Key" in request.headers for request in importer.api.received)


def test_reordered_and_extended_files_add_only_what_is_new(importer: Importer) -> None:
    importer.run(importer.csv(*FOUR))

    again = importer.run(importer.csv(*reversed(FOUR), "one,seats,1", "three,seats,1", name="month.csv"))

    assert again.exit_code == 0
    assert (again.summary["lines_known"], again.summary["lines_written"]) == (4, 2)
    [file] = again.summary["files"]
    assert (file["known_lines"], file["known_quantity"]) == (4, 7)
    assert "month.csv: new lines are 6, 7. A line whose value was changed is new too" in again.stderr
    assert importer.api.usage() == sorted([*FOUR_STORED, ("one", "seats", 1), ("three", "seats", 1)])


def test_a_file_without_new_lines_is_announced(importer: Importer) -> None:
    path = importer.csv(*FOUR)
    importer.run(path)

    again = importer.run(path)
    further = importer.run(path, name="hour-11")

    assert f"NOTHING NEW in {path}" in again.stderr
    assert "under another --import-id" in again.stderr
    assert (again.exit_code, again.summary["lines_written"], len(importer.api.inserts)) == (0, 0, 2)
    assert (further.exit_code, further.summary["lines_written"]) == (0, 4)


def test_the_lines_of_two_files_count_together(importer: Importer) -> None:
    first, second = importer.csv(*FOUR, name="hour-10.csv"), importer.csv(*FOUR, name="hour-11.csv")

    outcome = importer.run(first, second)

    assert outcome.exit_code == 0
    assert f"WARNING: {second} has the lines of {first}" in outcome.stderr
    assert importer.api.usage() == sorted(FOUR_STORED * 2)
    assert importer.run(first, first).exit_code == 2


def test_standard_input_and_its_own_ids_are_sent_as_they_are(importer: Importer) -> None:
    outcome = importer.run("-", name="", stdin=(WITH_IDS + "one,seats,1,a\ntwo,seats,1,a\n").encode())

    assert outcome.exit_code == 0
    assert outcome.summary["files"][0]["file"] == "standard input"
    assert [*importer.api.stored] == [("one", "a"), ("two", "a")]


def test_an_id_that_is_stored_meanwhile_with_other_usage_is_named(importer: Importer) -> None:
    def store_another() -> None:
        importer.api.stored["one", "a"] = ("seats", 9)

    nothing_known = Answer(200, {"dry_run": True, "records": 1, "duplicates": []})
    importer.api.checks.append(StoreBut(nothing_known, store_another))

    outcome = importer.run(importer.csv("one,seats,1,a", header=WITH_IDS), name="")

    assert (outcome.exit_code, outcome.places) == (3, [(2, "transaction_id")])
    assert outcome.summary["lines_found_stored"] == 1


def test_a_dry_run_prints_totals_and_writes_nothing(importer: Importer) -> None:
    path = importer.csv(*(f"{line},x" for line in FOUR), header=HEADER.strip() + ",Note\n")

    outcome = importer(path, "--api-url", importer.api.url, "--import-id", "2026-11", "--dry-run")

    assert outcome.exit_code == 0
    assert outcome.stdout.splitlines() == [
        f"{path}: 4 lines, quantity 7; stored before: 0 lines, quantity 0",
        f"{path}: ignored columns: 'Note'",
        "4 lines of 2 customers; sums:",
        "  seats: 4",
        "  storage: 3",
        "Largest lines:",
        f"  {path}:4: one, storage: 3",
        f"  {path}:3: two, seats: 2",
        f"  {path}:2: one, seats: 1",
        f"  {path}:5: one, seats: 1",
        "Not written (--dry-run): 4 new lines.",
    ]
    assert (importer.api.usage(), importer.api.inserts) == ([], [])


def test_problems_of_a_file_are_named_and_nothing_is_sent(importer: Importer) -> None:
    path = importer.csv("one,seats,1", ",seats,1.000", "one,seats,1,1")

    outcome = importer.run(path)

    assert outcome.exit_code == 1
    assert outcome.places == [(3, "customerIdentifier"), (3, "dimension_value"), (4, None)]
    assert f"{path}:3: dimension_value: '1.000' looks like a number with thousands" in outcome.stderr
    assert "3 problems. Nothing was written." in outcome.stderr
    assert importer.api.received == []


@pytest.mark.usefixtures("small_requests")
def test_the_api_checks_every_request_before_the_first_is_stored(importer: Importer) -> None:
    pointer = "/buyers/0/metered_dimensions/0/dimension_name"
    unknown = problem(422, "No.", errors=[violation(pointer, "is not a dimension")])
    whole_line = problem(422, "No.", errors=[violation("/buyers/0", "is odd")])
    path = importer.csv(*FOUR)
    importer.run(importer.csv(FOUR[0], name="first.csv"))
    importer.api.checks += [None, unknown, whole_line]

    outcome = importer.run(path)

    assert (outcome.exit_code, outcome.places) == (1, [(4, "dimension_name"), (5, None)])
    assert f"{path}:4: dimension_name: is not a dimension" in outcome.stderr
    assert importer.api.usage() == [("one", "seats", 1)]


def test_an_hours_limits_count_what_is_not_known_yet(importer: Importer) -> None:
    month = [f"one,d{number},1" for number in range(26)]

    refused = importer.run(importer.csv(*month))
    now = importer.run(importer.csv(*month[:-1]))
    an_hour_later = importer.run(importer.csv(*month))

    assert (refused.exit_code, refused.places) == (1, [(27, "dimension_name")])
    assert (now.exit_code, an_hour_later.exit_code) == (0, 0)
    assert len(importer.api.usage()) == 26


def test_a_rule_that_changes_after_the_check_ends_the_import(importer: Importer) -> None:
    importer.api.stores.append(
        problem(422, "No.", errors=[violation("/buyers/1/customerIdentifier", "is gone")])
    )

    outcome = importer.run(importer.csv(*FOUR))

    assert (outcome.exit_code, outcome.places) == (3, [(4, "customerIdentifier")])
    assert "Not all usage is in the table. Run the same command again" in outcome.stderr


def test_a_file_that_changes_while_it_is_checked_is_not_imported(importer: Importer) -> None:
    """A file that is still being written may end within a quantity."""
    path = importer.csv("one,seats,1")
    checked = Answer(200, {"dry_run": True, "records": 1, "duplicates": []})
    importer.api.checks.append(StoreBut(checked, lambda: importer.csv("one,seats,100")))

    outcome = importer.run(path)

    assert (outcome.exit_code, importer.api.inserts) == (3, [])
    assert f"{path} was changed" in outcome.stderr
    assert "Nothing was written." in outcome.stderr


@contextmanager
def program(path: Path, url: str, stderr: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-m", "metering_cli", "import", str(path), "--import-id", "2026-11"],
        cwd=PROJECT,
        env={"METERING_API_URL": url, "METERING_API_KEY": KEY, "TERM": "xterm"},
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_an_interruption_says_what_to_do(importer: Importer) -> None:
    path = importer.csv(*MANY)
    running: list[subprocess.Popen[str]] = []

    def interrupt() -> None:
        running[0].send_signal(signal.SIGINT)
        running[0].wait(PROGRAM_SECONDS)

    importer.api.stores.append(StoreBut(meanwhile=interrupt))
    with program(path, importer.api.url) as process:
        running.append(process)
        _, told = process.communicate(timeout=PROGRAM_SECONDS)

    assert process.returncode == 130
    assert "Interrupted. Not all usage is in the table. Run the same command again" in told
    assert importer.run(path).summary["lines_known"] == 2_000
    assert len(importer.api.usage()) == 5_000
