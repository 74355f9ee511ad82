"""What inserts write: records, rows and their transactions."""

import random
from collections import Counter
from collections.abc import Mapping
from typing import Any
from unittest.mock import Mock, call

import pytest

from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Call, Calls, Rows
from tests.unit.lambda_calls import DRY_RUN, KEY, REPRESENTATION, Api, Body, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID
from tools.example_requests import CUSTOMER, INSERT_MANY, INSERT_ONE

# A call takes time, so that a test whose calls do not end fails.
pytestmark = pytest.mark.usefixtures("calls")


def test_the_seeds_single_example_is_stored_as_the_job_reads_it(api: Api, stored: StoredItems) -> None:
    assert api.insert_one(CUSTOMER, INSERT_ONE).outcome == (200, {}, False)
    assert stored.all() == [
        {
            "customerIdentifier": {"S": CUSTOMER},
            "create_timestamp": {"N": str(api.request_time)},
            "metering_pending": {"S": "true"},
            "dimension_usage": {
                "L": [
                    {"M": {"dimension": {"S": "metered_1_id"}, "value": {"N": "10"}}},
                    {"M": {"dimension": {"S": "metered_3_id"}, "value": {"N": "20"}}},
                ]
            },
            "request_id": {"S": EXTENDED_REQUEST_ID},
        }
    ]


def test_entries_of_one_customer_are_added_up(api: Api, stored: StoredItems) -> None:
    """As those of the seed's bulk example, in which a customer comes twice."""
    entries = [buyer("c", m=1), buyer("d", m=10), buyer("c", m=2, n=0), buyer("d", "t", m=20, a=5)]

    assert api.insert_many(INSERT_MANY).outcome == (200, {}, False)
    assert api.insert_many(buyers(*entries)).outcome == (200, {}, False)

    seeds = {"metered_1_id": 10, "metered_2_id": 20, "metered_3_id": 20, "metered_id_1": 10}
    assert stored.usage() == [(CUSTOMER, seeds), ("c", {"m": 3, "n": 0}), ("d", {"a": 5, "m": 30})]


@pytest.mark.parametrize(("steps", "status"), [([9_999, 1], 200), ([9_999, 2], 503)])
def test_a_taken_slot_moves_that_record_only_and_10_s_at_most(
    api: Api, stored: StoredItems, monkeypatch: pytest.MonkeyPatch, steps: list[int], status: int
) -> None:
    """Beyond that the request ends as a 503, whatever the load: it can be resumed."""
    step = Mock(side_effect=steps)
    monkeypatch.setattr(random, "randint", step)
    for ahead in (0, 9_999):
        stored.put(customerIdentifier={"S": "d"}, create_timestamp={"N": str(api.request_time + ahead)})

    answer = api.insert_many(buyers(*(buyer(customer, m=1) for customer in "cde")), REPRESENTATION)

    assert answer.status == status
    if status == 200:
        timestamps = [each["create_timestamp"] - api.request_time for each in answer.body["records"]]
        assert timestamps == [0, 10_000, 0]
    else:
        assert (answer.body["inserted"], len(stored.all())) == (0, 2)
    assert step.mock_calls == [call(1, 50)] * 2


# Transactions.


@pytest.mark.parametrize(
    ("headers", "without_id", "chunks"),
    [
        (KEY, [buyer("c", n=1)], [{"d": 38}, {"a": 60}, {"b": 60}, {"c": 98}, {"c": 98}, {"c": 54, "d": 22}]),
        ({}, [], [{"d": 37}, {"a": 60}, {"b": 60}, {"c": 99}, {"c": 99}, {"c": 52, "d": 23}]),
    ],
)
def test_a_request_is_divided_into_transactions_of_100_actions(
    api: Api, calls: Calls, headers: dict[str, str], without_id: list[Body], chunks: list[dict[str, int]]
) -> None:
    """Another division needs another version. A customer that does not fit begins a new transaction."""
    customers = [*["a"] * 60, *["b"] * 60, *["c"] * 250, *(f"d{number:02}" for number in range(60))]
    entries = [buyer(customer, f"t{number:03}", m=1) for number, customer in enumerate(customers)]
    calls.on_write = written_nowhere

    api.insert_many(buyers(*entries, *without_id), headers)

    divided, timestamps = [], []
    for transaction in calls.transactions:
        assert len(transaction) <= 100
        quantities, rows_of = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        for item in (put["Item"] for put in transaction if "customerIdentifier" in put["Item"]):
            key = item["customerIdentifier"]["S"], item["create_timestamp"]["N"]
            if "dimension_usage" in item:
                quantities[key] = int(item["dimension_usage"]["L"][0]["M"]["value"]["N"])
            else:
                rows_of[key] += 1
        assert quantities == rows_of, "an entry's row and its record are in one transaction"
        in_chunk = Counter[str]()
        for (customer, timestamp), number in rows_of.items():
            in_chunk[customer[0]] += number
            timestamps += [timestamp] * (customer == "c")
        divided.append(in_chunk)
    assert divided == chunks
    # A customer's records follow each other by a millisecond.
    assert sorted(int(timestamp) - api.request_time for timestamp in timestamps) == [0, 1, 2]
    # What has no id goes with the customer's first record.
    assert ("{'S': 'n'}" in str(calls.transactions[3])) == bool(without_id)


def written_nowhere(_: Call, **__: object) -> object:
    """Let a transaction succeed unwritten: moto takes long for many items."""
    return {}


@pytest.mark.parametrize(
    ("entries", "headers", "units"),
    [
        pytest.param([buyer("c", m=1)], {}, 5, id="single"),
        pytest.param([buyer("c", "t", m=1)], {}, 5, id="id"),
        pytest.param([buyer("c", "t", m=1)], KEY, 7, id="id and key"),
        pytest.param([buyer("c", "t", m=1), buyer("c", m=1)], {}, 7, id="with and without id"),
        pytest.param([buyer(f"c{n}", m=1) for n in range(1_000)], {}, 3_022, id="customers"),
        pytest.param([buyer(f"c{n}", "t", m=1) for n in range(1_000)], {}, 5_000, id="customers and ids"),
        pytest.param([buyer("c", m=1)] * 1_000, {}, 5, id="one customer"),
        pytest.param([buyer("c", f"t{n}", m=1) for n in range(1_000)], {}, 2_033, id="one customer's ids"),
    ],
)
def test_an_insert_costs_these_write_units(
    api: Api, calls: Calls, entries: list[Body], headers: dict[str, str], units: int
) -> None:
    """Of a small record 3, with its index; of a row 2."""
    calls.on_write = written_nowhere

    assert api.insert_many(buyers(*entries), headers).status == 200

    puts = [put for transaction in calls.transactions for put in transaction]
    assert sum(3 if put["TableName"] == METERING_TABLE_NAME else 2 for put in puts) == units


# Rows.


def test_rows_keep_their_form(api: Api, rows: Rows) -> None:
    """Rows of other releases are read: an entry's id never changes; digest and division have versions."""
    api.insert_one("ExWoL3vTir2", usage("2026-11-23T10", m=1))

    now = api.request_time
    assert rows.all() == [
        {
            "id": {"S": "4d737a9115ec07eac041fee829aec9e725b98354593b8c4185970f43529580ae"},
            "customerIdentifier": {"S": "ExWoL3vTir2"},
            "create_timestamp": {"N": str(now)},
            "digest": {"S": "1c9f563171ef3306f2e4c402548a70e5c08ae830a0899a4406317e6c7747bfaa"},
            "request_id": {"S": EXTENDED_REQUEST_ID},
            "expires_at": {"N": str(now // 1_000 + 90 * 86_400 + 3_600)},
            "delete_after": {"N": str(now // 1_000 + 91 * 86_400 + 3_600)},
        }
    ]
    api.insert_one("c", usage("t1", m=1))
    api.request_time = now = now + 1_000
    api.insert_many(
        buyers(buyer("d", "t", é=0), buyer("c", m=2), buyer("c", a=1, m=3), buyer("c", "t1", m=2)), KEY
    )
    # Of each record the ms after the request, plus 1; of each id 0, or twice the ms after a time four years
    # before the request, plus 1 if it differs.
    values = [1, 2 * (2**37 - 1_000) + 1, 1, 0]
    assert rows.of_requests()["order 66#0"] == {
        "id": {"S": "order 66#0"},
        "digest": {"S": "1:5f3190e78189d0051382f11996ade2b77266b01bfa80f1d8ca43ff9752f51d8f"},
        "division": {"N": "1"},
        "request_time": {"N": str(now)},
        "result": {"B": b"".join(value.to_bytes(5) for value in values)},
        "request_id": {"S": "JKJaXmPLvHc0002="},
        "expires_at": {"N": str(now // 1_000 + 25 * 3_600)},
        "delete_after": {"N": str(now // 1_000 + 49 * 3_600)},
    }


def test_rows_are_read_strongly_consistently(api: Api, calls: Calls) -> None:
    for headers in ({}, KEY, KEY):
        for query in (DRY_RUN, {}):
            assert api.insert_many(buyers(buyer("c", "t", m=1)), headers, query=query).status == 200

    reads = [request["RequestItems"][IDEMPOTENCY_TABLE_NAME] for request in calls.reads]
    assert len(reads) >= 5
    assert all(read["ConsistentRead"] for read in reads)


def size(item: Mapping[str, Any]) -> int:
    """Return an item's bytes ("DynamoDB item sizes and formats", Amazon DynamoDB Developer Guide)."""
    values = [(kind, content) for value in item.values() for kind, content in value.items()]
    sizes = [len(str(content)) // 2 + 2 if kind == "N" else len(content) for kind, content in values]
    return sum(map(len, item)) + sum(sizes)


def test_rows_are_below_1_kb(api: Api, rows: Rows) -> None:
    """The largest are of 99 records, and of 98 known entries and a record."""
    customer = "c" * 128
    ids = [buyer(customer, f"{number:255}", m=1) for number in range(98)]
    api.insert_many(buyers(*ids))

    for number, entries in enumerate(
        [[*ids, buyer(customer, m=1)], [buyer(f"c{n}", m=1) for n in range(99)]]
    ):
        assert api.insert_many(buyers(*entries), {"Idempotency-Key": f"{number:255}"}).status == 200

    # Lambda's own request id is 20 bytes longer, and a later chunk's number two.
    assert max(size(row) for row in rows.all()) + 22 < 1_024
