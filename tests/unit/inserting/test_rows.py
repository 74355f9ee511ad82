"""What an insert writes to the idempotency table, and what that costs."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from metering_handlers.contract.row_ids import entry_row_id
from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.division import divided
from metering_handlers.inserting.progress import Known, Progress
from metering_handlers.inserting.rows import EntryRow, RequestRow
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Calls, Rows
from tests.unit.lambda_calls import DRY_RUN, KEY, Api, Body, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

NOW = 1_795_446_956_551
LAMBDA_REQUEST_ID = "3f1f0a5e-2a4b-4f1c-9d5e-5d8f2f0f7c11"


def test_an_entry_row_says_where_its_usage_is(api: Api, rows: Rows) -> None:
    api.insert_one("c", usage("t", m=1))

    expires_at = api.request_time // 1_000 + 90 * 86_400 + 3_600
    assert rows.all() == [
        {
            "id": {"S": entry_row_id("c", "t")},
            "customerIdentifier": {"S": "c"},
            "create_timestamp": {"N": str(api.request_time)},
            "digest": {"S": CanonicalEntry("c", "t", {"m": 1}, 1).digest},
            "request_id": {"S": EXTENDED_REQUEST_ID},
            "expires_at": {"N": str(expires_at)},
            "delete_after": {"N": str(expires_at + 86_400)},
        }
    ]


@pytest.mark.usefixtures("small_chunks")
def test_entry_rows_name_the_record_that_has_moved(api: Api, stored: StoredItems, rows: Rows) -> None:
    api.insert_one("c", usage(m=1))

    api.insert_many(buyers(*(buyer("c", f"t{number}", m=10) for number in range(4))))

    written = {int(row["create_timestamp"]["N"]) for row in rows.of_entries()}
    assert written == set(stored.timestamps()) - {api.request_time}
    assert len(written) == 2


@pytest.mark.parametrize(
    ("entries", "headers", "request_rows"),
    [
        ([buyer("c", "t", m=1)], {}, []),
        ([buyer("c", "t", m=1), buyer("d", "t", m=1)], {}, []),
        ([buyer("c", "t", m=1), buyer("c", m=1)], {}, [f"{EXTENDED_REQUEST_ID}#0"]),
        ([buyer("c", m=1)], {}, [f"{EXTENDED_REQUEST_ID}#0"]),
        ([buyer("c", "t", m=1)], KEY, ["order 66#0"]),
    ],
    ids=["an id", "all ids", "one without id", "no id", "id and key"],
)
def test_only_a_request_that_needs_them_has_rows_of_its_own(
    api: Api, rows: Rows, entries: list[Body], headers: dict[str, str], request_rows: list[str]
) -> None:
    assert api.insert_many(buyers(*entries), headers).status == 200

    assert list(rows.of_requests()) == request_rows
    assert len(rows.of_entries()) == sum("transaction_id" in entry for entry in entries)


@pytest.mark.parametrize("known", [1, 2], ids=["in part", "all"])
def test_a_chunk_of_known_entries_still_writes_its_row(api: Api, rows: Rows, known: int) -> None:
    entries = [buyer("c", "t1", m=1), buyer("d", "t2", m=1)]
    api.insert_many(buyers(*entries[:known]))

    assert len(api.insert_many(buyers(*entries), KEY).body["duplicates"]) == known
    assert list(rows.of_requests()) == ["order 66#0"]


def test_an_entrys_row_and_record_are_in_one_transaction(api: Api, calls: Calls) -> None:
    entries = [buyer(f"c{number}", f"t{index}", m=1) for number in range(3) for index in range(120)]
    calls.write_nothing()

    assert api.insert_many(buyers(*entries)).status == 200

    for transaction in calls.transactions:
        quantities, rows_of = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for item in (put["Item"] for put in transaction):
            key = item["customerIdentifier"]["S"], item["create_timestamp"]["N"]
            if "dimension_usage" in item:
                quantities[key] = int(item["dimension_usage"]["L"][0]["M"]["value"]["N"])
            else:
                rows_of[key] += 1
        assert len(transaction) <= 100
        assert quantities == rows_of


def test_rows_are_read_strongly_consistently(api: Api, calls: Calls) -> None:
    for headers in ({}, KEY, KEY):
        for query in (DRY_RUN, {}):
            assert api.insert_many(buyers(buyer("c", "t", m=1)), headers, query=query).status == 200

    assert len(calls.reads) >= 5
    assert all(request["ConsistentRead"] for request in calls.reads)


def test_nothing_is_ever_overwritten(api: Api, calls: Calls) -> None:
    api.insert_many(buyers(buyer("c", "t", m=1), buyer("d", m=1)), KEY)

    puts = {put["Item"].get("id", {}).get("S", "record"): put for put in calls.transactions[0]}
    assert puts.pop("record")["ConditionExpression"] == "attribute_not_exists(customerIdentifier)"
    assert puts.keys() == {"order 66#0", entry_row_id("c", "t")}
    for put in puts.values():
        assert put["ConditionExpression"] == "attribute_not_exists(id) OR expires_at < :before"
        assert put["ExpressionAttributeValues"] == {":before": {"N": str(api.request_time // 1_000)}}


@pytest.mark.parametrize(
    ("entries", "headers", "units"),
    [
        pytest.param([buyer("c", m=1)], {}, 5, id="single"),
        pytest.param([buyer("c", "t", m=1)], {}, 5, id="id"),
        pytest.param([buyer("c", "t", m=1)], KEY, 7, id="id and key"),
        pytest.param([buyer(f"c{n}", m=1) for n in range(1_000)], {}, 3_022, id="customers"),
        pytest.param([buyer(f"c{n}", "t", m=1) for n in range(1_000)], {}, 5_000, id="customers and ids"),
        pytest.param([buyer("c", m=1)] * 1_000, {}, 5, id="one customer"),
        pytest.param([buyer("c", f"t{n}", m=1) for n in range(1_000)], {}, 2_033, id="one customer's ids"),
    ],
)
def test_an_insert_costs_these_write_units(
    api: Api, calls: Calls, entries: list[Body], headers: dict[str, str], units: int
) -> None:
    calls.write_nothing()

    assert api.insert_many(buyers(*entries), headers).status == 200

    assert calls.units == units


def size(item: Mapping[str, Any]) -> int:
    """Return an item's bytes ("DynamoDB item sizes and formats", Amazon DynamoDB Developer Guide)."""
    values = [(kind, content) for value in item.values() for kind, content in value.items()]
    sizes = [len(str(content)) // 2 + 2 if kind == "N" else len(content) for kind, content in values]
    return sum(map(len, item)) + sum(sizes)


@pytest.mark.parametrize("with_ids", [False, True], ids=["99 records", "98 duplicates and a record"])
def test_a_requests_row_is_below_1_kb(with_ids: bool) -> None:
    ids = ["", *(f"{number:02}" for number in range(1, 99))]
    entries = [CanonicalEntry(*(("c", each) if with_ids else (each, "")), {"m": 1}, 1) for each in ids]
    (chunk,) = divided(entries, has_rows=True)
    known = {entry: Known(NOW, differs=True) for entry in entries if entry.transaction_id}
    row = RequestRow(
        key="k" * 255,
        chunk=204,
        digest=f"1:{'0' * 64}",
        division=1,
        request_time=NOW,
        result=Progress(chunk, dict.fromkeys(chunk, NOW + 10_000), known).to_bytes(NOW),
        request_id=LAMBDA_REQUEST_ID,
        expires_at=NOW // 1_000,
    )

    assert size(row.put("rows", 0)["Item"]) < 1_024


def test_an_entrys_row_is_below_1_kb() -> None:
    row = EntryRow("0" * 64, "c" * 128, "0" * 64, NOW, LAMBDA_REQUEST_ID, NOW // 1_000)

    assert size(row.put("rows", 0)["Item"]) < 1_024
