"""What an insert writes to the idempotency table, and what that costs."""

from typing import TYPE_CHECKING, Any

import pytest

from metering_handlers.contract.row_ids import entry_row_id
from metering_handlers.inserting.canonical_form import CanonicalEntry
from metering_handlers.inserting.division import divided
from metering_handlers.inserting.progress import Known, Progress
from metering_handlers.inserting.rows import EntryRow, RequestRow
from tests.unit.lambda_calls import Api, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from tests.unit.conftest import StoredItems
    from tests.unit.inserting.conftest import Calls, Rows

KEY = {"Idempotency-Key": "order 66"}
NOW = 1_795_446_956_551
LAMBDA_REQUEST_ID = "3f1f0a5e-2a4b-4f1c-9d5e-5d8f2f0f7c11"


def test_an_entry_row_says_where_its_usage_is(api: Api, rows: "Rows") -> None:
    api.insert_one("c", usage("t", m=1))

    (row,) = rows.all()
    expires_at = api.request_time // 1_000 + 90 * 86_400 + 3_600
    assert row == {
        "id": {"S": entry_row_id("c", "t")},
        "customerIdentifier": {"S": "c"},
        "create_timestamp": {"N": str(api.request_time)},
        "digest": {"S": CanonicalEntry("c", "t", {"m": 1}, 1).digest},
        "request_id": {"S": EXTENDED_REQUEST_ID},
        "expires_at": {"N": str(expires_at)},
        "delete_after": {"N": str(expires_at + 86_400)},
    }


@pytest.mark.usefixtures("small_chunks")
def test_rows_of_entries_name_the_record_that_has_moved(
    api: Api, stored: "StoredItems", rows: "Rows"
) -> None:
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
    api: Api, rows: "Rows", entries: list[dict[str, object]], headers: dict[str, str], request_rows: list[str]
) -> None:
    assert api.insert_many(buyers(*entries), headers).status == 200

    assert list(rows.of_requests()) == request_rows
    assert len(rows.of_entries()) == sum("transaction_id" in entry for entry in entries)


@pytest.mark.parametrize("known", [1, 2], ids=["in part", "all"])
def test_a_chunk_whose_entries_are_known_writes_its_row_all_the_same(
    api: Api, rows: "Rows", known: int
) -> None:
    entries = [buyer("c", "t1", m=1), buyer("d", "t2", m=1)]
    api.insert_many(buyers(*entries[:known]))

    answer = api.insert_many(buyers(*entries), KEY)

    assert len(answer.body["duplicates"]) == known
    assert list(rows.of_requests()) == ["order 66#0"]


def test_an_entrys_row_and_its_record_are_in_one_transaction(api: Api, calls: "Calls") -> None:
    entries = [buyer(f"c{number}", f"t{index}", m=1) for number in range(3) for index in range(120)]
    calls.on_write = lambda _, **__: {}

    assert api.insert_many(buyers(*entries)).status == 200

    for transaction in calls.transactions:
        records = {
            (put["Item"]["customerIdentifier"]["S"], put["Item"]["create_timestamp"]["N"]): put["Item"]
            for put in transaction
            if "dimension_usage" in put["Item"]
        }
        rows_of: dict[tuple[str, str], int] = dict.fromkeys(records, 0)
        for put in transaction:
            if "digest" in put["Item"]:
                item = put["Item"]
                rows_of[item["customerIdentifier"]["S"], item["create_timestamp"]["N"]] += 1
        assert len(transaction) <= 100
        assert {key: int(sum_of(record)) for key, record in records.items()} == rows_of


def sum_of(record: "Mapping[str, Any]") -> str:
    text: str = record["dimension_usage"]["L"][0]["M"]["value"]["N"]
    return text


def test_nothing_is_ever_overwritten(api: Api, calls: "Calls") -> None:
    api.insert_many(buyers(buyer("c", "t", m=1), buyer("d", m=1)), KEY)

    conditions = {put["Item"].get("id", {}).get("S", "record"): put for put in calls.transactions[0]}
    assert conditions["record"]["ConditionExpression"] == "attribute_not_exists(customerIdentifier)"
    now = str(api.request_time // 1_000)
    for row_id in ("order 66#0", entry_row_id("c", "t")):
        put = conditions[row_id]
        assert put["ConditionExpression"] == "attribute_not_exists(id) OR expires_at < :before"
        assert put["ExpressionAttributeValues"] == {":before": {"N": now}}


@pytest.mark.parametrize(
    ("entries", "headers", "units"),
    [
        ([buyer("c", m=1)], {}, 5),
        ([buyer("c", "t", m=1)], {}, 5),
        ([buyer("c", "t", m=1)], KEY, 7),
        ([buyer(f"c{number}", m=1) for number in range(1_000)], {}, 3_022),
        ([buyer(f"c{number}", "t", m=1) for number in range(1_000)], {}, 5_000),
        ([buyer("c", m=1)] * 1_000, {}, 5),
        ([buyer("c", f"t{number}", m=1) for number in range(1_000)], {}, 2_033),
    ],
    ids=[
        "single",
        "id",
        "id and key",
        "customers",
        "customers and ids",
        "one customer",
        "one customer's ids",
    ],
)
def test_an_insert_costs_these_write_units(
    api: Api, calls: "Calls", entries: list[dict[str, object]], headers: dict[str, str], units: int
) -> None:
    calls.on_write = lambda _, **__: {}

    assert api.insert_many(buyers(*entries), headers).status == 200

    assert calls.units == units


def size(item: "Mapping[str, AttributeValueTypeDef]") -> int:
    """Return an item's bytes ("DynamoDB item sizes and formats", Amazon DynamoDB Developer Guide)."""
    total = 0
    for name, value in item.items():
        ((kind, content),) = value.items()
        total += len(name) + (len(str(content)) // 2 + 2 if kind == "N" else len(content))  # type: ignore[arg-type]
    return total


@pytest.mark.parametrize(
    "entries",
    [
        [CanonicalEntry(f"{number:02}", None, {"m": 1}, 1) for number in range(99)],
        [CanonicalEntry("c", f"{number:02}" if number else None, {"m": 1}, 1) for number in range(99)],
    ],
    ids=["99 records", "98 duplicates and a record"],
)
def test_a_requests_row_is_below_1_kb(entries: list[CanonicalEntry]) -> None:
    ((chunk),) = divided(entries, has_rows=True)
    progress = Progress(chunk, dict.fromkeys(chunk, NOW + 10_000))
    for entry in entries:
        if entry.transaction_id is not None:
            progress.known[entry] = Known(NOW, differs=True)
    row = RequestRow(
        key="k" * 255,
        chunk=204,
        digest=f"1:{'0' * 64}",
        request_time=NOW,
        result=progress.to_bytes(NOW),
        request_id=LAMBDA_REQUEST_ID,
        expires_at=NOW // 1_000,
    )

    assert size(row.put("rows", 0)["Item"]) < 1_024  # type: ignore[arg-type]


def test_an_entrys_row_is_below_1_kb() -> None:
    row = EntryRow("0" * 64, "c" * 128, "0" * 64, NOW, LAMBDA_REQUEST_ID, NOW // 1_000)

    assert size(row.put("rows", 0)["Item"]) < 1_024  # type: ignore[arg-type]
