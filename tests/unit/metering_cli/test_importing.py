"""The command: what it sends, prints and ends with."""

from collections import Counter
from collections.abc import Iterator

import pytest

from metering_cli.importing import bulk
from metering_handlers.contract.limits import MAX_QUANTITY
from tests.unit.conftest import StoredItems
from tests.unit.metering_cli.conftest import FOUR, FOUR_STORED, HEADER, WITH_IDS, Importer, refusal, summary
from tests.unit.metering_cli.stub_api import Functions, Step, StubApi, problem


@pytest.fixture(params=[StubApi, Functions])
def api(request: pytest.FixtureRequest, stored: StoredItems) -> Iterator[StubApi]:
    """Run each test with the stub, and with the function, which has to store what the stub does."""
    stub: StubApi = request.param()
    yield stub
    if isinstance(stub, Functions):
        in_the_table = Counter[tuple[str, str]]()
        for customer, usage in stored.usage():
            in_the_table.update({(customer, dimension): quantity for dimension, quantity in usage.items()})
        for customer, dimension, quantity in stub.usage():
            in_the_table[customer, dimension] -= quantity
        assert not any(in_the_table.values())


def test_every_line_is_checked_then_stored_as_an_entry(importer: Importer) -> None:
    path = importer.csv(*FOUR)

    outcome = importer.run(path)

    assert outcome.exit_code == 0
    told = summary(outcome)
    assert [line["number"] for line in told.pop("largest_lines")] == [4, 3, 2, 5]
    assert told == {
        "import_id": "2026-11",
        "status": "imported",
        "error": None,
        "problems": [],
        "lines": 4,
        "customers": 2,
        "dimensions": {"seats": 4, "storage": 3},
        "files": [
            {
                "file": str(path),
                "lines": 4,
                "quantity": 7,
                "ignored_columns": [],
                "known_lines": 0,
                "known_quantity": 0,
            }
        ],
        "lines_known": 0,
        "lines_written": 4,
        "lines_found_stored": 0,
    }
    assert importer.api.usage() == FOUR_STORED
    paths = ["/prod/insertMeteringRecords?dry_run=true", "/prod/insertMeteringRecords?"]
    assert [request.full_path for request in importer.api.received] == paths
    assert not any("Idempotency-Key" in request.headers for request in importer.api.received)


def test_reordered_and_extended_files_add_only_what_is_new(importer: Importer) -> None:
    first = importer.run(importer.csv(*FOUR))
    path = importer.csv(*reversed(FOUR), "one,seats,1", "three,seats,1", name="month.csv")
    month, again = importer.run(path), importer.run(path)
    stored = importer.api.usage()
    further = importer.run(path, name="hour-11")

    outcomes = (first, month, again, further)
    assert [outcome.exit_code for outcome in outcomes] == [0] * 4
    assert [summary(outcome)["lines_known"] for outcome in outcomes] == [0, 4, 6, 0]
    assert [summary(outcome)["lines_written"] for outcome in outcomes] == [4, 2, 0, 6]
    [file] = summary(month)["files"]
    assert (file["known_lines"], file["known_quantity"]) == (4, 7)
    assert "month.csv: new lines are 6, 7. A line whose value was changed is new too" in month.stderr
    assert f"NOTHING NEW in {path}" in again.stderr
    assert "under another --import-id" in again.stderr
    assert stored == sorted([*FOUR_STORED, ("one", "seats", 1), ("three", "seats", 1)])


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
    assert summary(outcome)["files"][0]["file"] == "standard input"
    assert [*importer.api.stored] == [("one", "a"), ("two", "a")]


def test_an_id_that_is_stored_with_other_usage_is_named(importer: Importer) -> None:
    other = importer.csv("one,seats,9,a", name="other.csv", header=WITH_IDS)
    path = importer.csv("two,seats,1,a", "one,seats,1,a", header=WITH_IDS)
    importer.api.script = iter([Step(meanwhile=lambda: importer.run(other, name=""))])

    stored_meanwhile, stored_before = importer.run(path, name=""), importer.run(path, name="")

    assert refusal(stored_meanwhile) == (3, [(3, "transaction_id")])
    assert summary(stored_meanwhile)["lines_found_stored"] == 1
    assert "1 problem. Not all usage is in the table. Run the same command" in stored_meanwhile.stderr
    assert refusal(stored_before) == (1, [(3, "transaction_id")])
    assert f"{path}:3: transaction_id: 'a' is stored with other usage" in stored_before.stderr
    assert importer.api.usage() == [("one", "seats", 9), ("two", "seats", 1)]


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
    assert (importer.api.usage(), importer.api.bodies_stored) == ([], [])


def test_problems_of_a_file_are_named_and_nothing_is_sent(importer: Importer) -> None:
    path = importer.csv("one,seats,1", ",seats,1.000", "one,seats,1,1")
    empty = importer.csv(name="empty.csv", header="")

    outcome = importer.run(path, empty)

    places = [(3, "customerIdentifier"), (3, "dimension_value"), (4, None), (None, None)]
    assert refusal(outcome) == (1, places)
    assert f"{empty}: is empty; its first line must be" in outcome.stderr
    assert f"{path}:3: dimension_value: '1.000' looks like a number with thousands" in outcome.stderr
    assert "4 problems. Nothing was written." in outcome.stderr
    assert importer.api.received == []


def test_the_api_checks_every_request_before_the_first_is_stored(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_LINES", 1)
    unknown = problem(422, "No.", ("/buyers/0/metered_dimensions/0/dimension_name", "is not a dimension"))
    whole_line = problem(422, "No.", ("/buyers/0", "is odd"))
    importer.api.script = iter([Step(), unknown, whole_line])
    path = importer.csv(*FOUR)

    outcome = importer.run(path)

    assert refusal(outcome) == (1, [(4, "dimension_name"), (5, None)])
    assert f"{path}:4: dimension_name: is not a dimension" in outcome.stderr
    assert importer.api.usage() == []


@pytest.mark.parametrize("api", [Functions], indirect=True)
def test_the_line_that_the_function_refuses_is_named(
    importer: Importer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MAX_QUANTITY", MAX_QUANTITY + 1)

    outcome = importer.run(importer.csv(f"one,seats,{MAX_QUANTITY}", "two,seats,1", "one,seats,1"))

    assert refusal(outcome) == (1, [(4, "dimension_value")])


def test_an_hours_limits_count_what_is_not_known_yet(importer: Importer) -> None:
    month = [f"one,d{number},1" for number in range(26)]

    refused = importer.run(importer.csv(*month, f"one,d0,{MAX_QUANTITY}"))
    now = importer.run(importer.csv(*month[:-1]))
    an_hour_later = importer.run(importer.csv(*month))

    assert refusal(refused) == (1, [(27, "dimension_name"), (28, "dimension_value")])
    assert "AWS takes no more than 25 dimensions of a customer in an hour: take such lines" in refused.stderr
    assert "AWS takes no more than 2147483647 of a customer's dimension in an hour" in refused.stderr
    assert (now.exit_code, an_hour_later.exit_code) == (0, 0)
    assert len(importer.api.usage()) == 26


def test_a_file_that_changes_while_it_is_checked_is_not_imported(importer: Importer) -> None:
    """A file that is still being written may end within a quantity."""
    path = importer.csv("one,seats,1")
    importer.api.script = iter([Step(meanwhile=lambda: importer.csv("one,seats,100"))])

    outcome = importer.run(path)

    assert (outcome.exit_code, importer.api.bodies_stored) == (3, [])
    assert f"{path} was changed" in outcome.stderr
    assert "Nothing was written." in outcome.stderr
