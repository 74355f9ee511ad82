"""What is stored once: requests with an Idempotency-Key, and entries with a transaction_id."""

import pytest

from metering_handlers import insert_metering_record
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import THREE_CHUNKS, WITHOUT_IDS, Calls, Rows
from tests.unit.lambda_calls import KEY, REPRESENTATION, Api, Body, buyer, buyers, usage

# A call takes time, so that a test whose calls do not end fails.
pytestmark = pytest.mark.usefixtures("small_chunks", "calls")

REUSED = (422, "idempotency-key-reused")
CONFLICT = (409, "idempotency-key-conflict")


# Keys. The canonical form says what is the same usage.

FIRST = [buyer("c", a=1, m=3), buyer("c", m=2), buyer("c", "t1", m=2), buyer("d", "t", é=0)]
CHANGED = [
    *(buyer("C", "t1", m=2), buyer("c", "t2", m=2), buyer("c", m=2), buyer("c", "t1", n=2)),
    *(buyer("c", "t1", m=3), buyer("c", "t1", m=2, n=0)),
]
ALIKE = [
    ([buyer("ab", "c", m=1)], [buyer("a", "bc", m=1)]),
    ([buyer("c", "t", m1=1)], [buyer("c", "t", m=11)]),
    ([buyer("a", "t", m=1, n=1)], [buyer("a", "t", m=1), buyer("n", "1", m=1)]),
]


def test_the_same_usage_is_a_replay_however_it_is_sent(api: Api, stored: StoredItems) -> None:
    assert api.insert_many(buyers(*FIRST), KEY).outcome == (200, {}, False)
    before = stored.all()
    for without_id in (
        [buyer("c", m=5, a=1)],
        [buyer("c", a=1), buyer("c", m=5)],
        [buyer("c", m=4), buyer("c", m=1, a=1)],
    ):
        for entries in ([*without_id, *FIRST[2:]], [*FIRST[2:], *without_id]):
            assert api.insert_many(buyers(*entries), KEY).outcome == (200, {}, True)
    assert stored.all() == before

    other = {"Idempotency-Key": "other"}
    assert api.insert_one("c", usage(m=1), other).outcome == (200, {}, False)
    spelled = '{ "metered_dimensions": [{"dimension_value": 1, "dimension_name": "\\u006d"}] }'
    for repeat in (api.insert_one("%63", spelled, other), api.insert_many(buyers(buyer("c", m=1)), other)):
        assert repeat.outcome == (200, {}, True)
    assert len(stored.all()) == len(before) + 1


@pytest.mark.parametrize(
    ("first", "other"),
    [
        *((FIRST, [*FIRST[:2], each, FIRST[3]]) for each in CHANGED),
        *((WITHOUT_IDS, other) for other in ([*WITHOUT_IDS[:7], buyer("x", m=1)], WITHOUT_IDS[:7])),
        *ALIKE,
    ],
)
def test_other_entries_under_a_used_key_are_refused(
    api: Api, stored: StoredItems, first: list[Body], other: list[Body]
) -> None:
    api.insert_many(buyers(*first), KEY)
    before = stored.all()

    answer = api.insert_many(buyers(*other), KEY)

    assert answer.problem == REUSED
    assert "new key" not in answer.body["detail"].lower()
    assert "GET /listMeteringRecords/" in answer.body["detail"]
    assert stored.all() == before


def test_a_replay_answers_as_the_first_did(api: Api, stored: StoredItems, rows: Rows) -> None:
    """With moved records and duplicates of either kind, though their ids are forgotten.

    The chunk of customer d has known entries only: it has a row all the same.
    """
    api.insert_many(buyers(buyer("c0", m=5), buyer("d", "known", m=1), buyer("d", "changed", m=2)))
    entries = [*WITHOUT_IDS, buyer("d", "known", m=1), buyer("d", "changed", m=3), buyer("e", "new", m=4)]
    first = api.insert_many(buyers(*entries), KEY | REPRESENTATION)
    api.request_time += 60_000
    for row_id in {row["id"]["S"] for row in rows.all()} - rows.of_requests().keys():
        rows.delete(id={"S": row_id})

    second = api.insert_many(buyers(*reversed(entries)), KEY | REPRESENTATION)

    assert second.outcome == (200, first.body, True)
    assert not first.is_replay
    assert len(first.body["records"]) == 9
    assert first.body["records"][0]["create_timestamp"] > api.request_time - 60_000
    assert [each["differs"] for each in first.body["duplicates"]] == [True, False]
    assert len(stored.all()) == 2 + 9


def test_a_row_of_an_impossible_age_stops_no_insert(api: Api, rows: Rows) -> None:
    """Only a row changed by hand is as old as that; its entry stays a duplicate."""
    api.insert_one("c", usage("t", m=1))
    rows.put(**rows.all()[0] | {"create_timestamp": {"N": "0"}})

    for is_replay in (False, True):
        answer = api.insert_one("c", usage("t", m=1), KEY)
        assert (answer.is_replay, len(answer.body["duplicates"])) == (is_replay, 1)


@pytest.mark.parametrize(("written", "records"), [(1, 2), (2, 5)])
def test_a_repeat_writes_what_is_missing(  # noqa: PLR0917
    api: Api, stored: StoredItems, rows: Rows, calls: Calls, written: int, records: int
) -> None:
    """What is written today must not get into yesterday's closed report."""
    first_time = api.request_time
    calls.cut_off(THREE_CHUNKS, KEY, after=written)
    first_expiry = rows.of_requests()["order 66#0"]["expires_at"]
    api.request_time += 10 * 3_600_000
    assert api.insert_many(buyers(*WITHOUT_IDS[:7]), KEY).problem == REUSED
    calls.clear()

    assert api.insert_many(THREE_CHUNKS, KEY).outcome == (200, {}, False)
    assert calls.log == ["write", "read"] + ["write"] * (3 - written)
    assert stored.usage() == [(f"c{number}", {"m": number}) for number in range(8)]
    timestamps = sorted(int(item["create_timestamp"]["N"]) for item in stored.all())
    assert timestamps == [first_time] * records + [api.request_time] * (8 - records)
    assert [row["expires_at"] for row in rows.of_requests().values()] == [first_expiry] * 3
    calls.clear()
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay
    assert calls.log == ["write", "read"]


@pytest.mark.parametrize("version", ["canonical_form.DIGEST_VERSION", "request_state.DIVISION_VERSION"])
def test_rows_of_another_release_are_a_409(
    api: Api, stored: StoredItems, calls: Calls, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The request may be half-written: nobody can say that these are other entries."""
    calls.cut_off(THREE_CHUNKS, KEY)
    monkeypatch.setattr(f"metering_handlers.inserting.{version}", 2)

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert answer.problem == CONFLICT
    for part in ("another release", "GET /listMeteringRecords/", "sent again without an Idempotency-Key"):
        assert part in answer.body["detail"]
    assert len(stored.all()) == 2
    # What the new release writes, it reads.
    for is_replay in (False, True):
        assert api.insert_one("c", usage(m=1), {"Idempotency-Key": "new"}).is_replay is is_replay


def test_a_later_row_of_a_later_use_is_a_409(api: Api, stored: StoredItems, rows: Rows, calls: Calls) -> None:
    calls.cut_off(THREE_CHUNKS, KEY, after=2)
    row = rows.of_requests()["order 66#1"]
    rows.put(**row | {"expires_at": {"N": str(int(row["expires_at"]["N"]) + 1)}})

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert answer.problem == CONFLICT
    assert "used again" in answer.body["detail"]
    assert len(stored.all()) == 5


@pytest.mark.parametrize("key", ["x", "~ !", "x" * 255, "a#1", "a#1#0"])
def test_any_printable_ascii_text_is_a_key(api: Api, stored: StoredItems, key: str) -> None:
    """Also one that looks like the row of another."""
    api.insert_many(THREE_CHUNKS, {"Idempotency-Key": "a"})

    for is_replay in (False, True):
        assert api.insert_one("c", usage(m=1), {"Idempotency-Key": key}).outcome == (200, {}, is_replay)
    assert len(stored.all()) == 9


@pytest.mark.parametrize(
    "keys",
    [
        *({"Idempotency-Key": [key]} for key in ("", "x" * 256, "tab\t", "café")),
        {"Idempotency-Key": ["a", "b"]},
        {"Idempotency-Key": ["a"], "idempotency-key": ["b"]},
    ],
)
def test_a_key_that_breaks_a_rule_is_a_400(api: Api, stored: StoredItems, keys: dict[str, list[str]]) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1))
    event["multiValueHeaders"] |= keys

    answer = api.call(insert_metering_record.lambda_handler, event)

    (error,) = answer.body["errors"]
    assert (answer.status, error["location"], error["pointer"]) == (400, "header", "/idempotency-key")
    assert stored.all() == []


# Ids.


def duplicate(customer: str, transaction_id: str, at: int, *, differs: bool = False) -> Body:
    entry = {"customerIdentifier": customer, "transaction_id": transaction_id}
    return {**entry, "create_timestamp": at, "differs": differs}


def test_regrouped_entries_are_stored_once(api: Api, stored: StoredItems) -> None:
    """As billing software sends that crashed before it noted what it had sent; singly and in bulk."""
    first_time = api.request_time
    api.insert_many(buyers(buyer("c", "t1", m=1), buyer("c", "t2", m=10)))
    api.request_time += 1_000

    many = api.insert_many(
        buyers(buyer("d", "t1", m=7), buyer("c", "t3", m=100), buyer("c", "t1", m=1)), REPRESENTATION
    )
    one = api.insert_one("c", usage("t2", m=10))

    records = [{"customerIdentifier": each, "create_timestamp": api.request_time} for each in "cd"]
    assert many.body == {"records": records, "duplicates": [duplicate("c", "t1", first_time)]}
    assert one.body == {"duplicates": [duplicate("c", "t2", first_time)]}
    assert stored.usage() == [("c", {"m": 11}), ("c", {"m": 100}), ("d", {"m": 7})]


@pytest.mark.parametrize("transaction_id", ["x" * 255, " ", "~#/%", "c#0"])
def test_an_id_may_be_of_any_255_printable_characters(api: Api, transaction_id: str) -> None:
    assert api.insert_one("c", usage(transaction_id, m=1)).body == {}
    assert len(api.insert_one("c", usage(transaction_id, m=1)).body["duplicates"]) == 1


def test_an_id_twice_in_a_request_is_refused(api: Api, stored: StoredItems) -> None:
    entries = [buyer("c", "t", m=1), buyer("d", "t", m=1), buyer("c", "t", m=2), buyer("c", "t", m=1)]

    answer = api.insert_many(buyers(*entries))

    places = {(f"/buyers/{index}/transaction_id", "duplicate_transaction_id") for index in (2, 3)}
    assert answer.refusal == (422, places)
    assert all("/buyers/0/transaction_id" in error["detail"] for error in answer.body["errors"])
    assert stored.all() == []


def test_other_usage_under_a_known_id_is_told_and_not_stored(api: Api, stored: StoredItems) -> None:
    first_time = api.request_time
    api.insert_one("c", usage("t", m=1, n=2))
    api.request_time += 3_600_000
    others = [usage("t", m=2, n=2), usage("t", m=1), usage("t", m=1, n=2, o=0), usage("t", m=1, o=2)]

    for again in (usage("t", n=2, m=1), *others):
        answer = api.insert_one("c", again, REPRESENTATION)
        duplicates = [duplicate("c", "t", first_time, differs=again in others)]
        assert answer.outcome == (200, {"records": [], "duplicates": duplicates}, False)
    assert stored.usage() == [("c", {"m": 1, "n": 2})]


@pytest.mark.parametrize("headers", [{}, KEY], ids=["without key", "with key"])
def test_an_id_counts_for_90_days(api: Api, stored: StoredItems, headers: dict[str, str]) -> None:
    """Not longer, though DynamoDB's TTL has not deleted the row; lists and inserts know the same ids."""
    body = usage("t", m=1)
    api.insert_one("c", body)
    api.request_time += (90 * 86_400 + 3_600) * 1_000 + 999 - api.request_time % 1_000
    assert len(api.records("c", transaction_id="t").body["records"]) == 1
    assert len(api.insert_one("c", body, headers).body["duplicates"]) == 1
    api.request_time += 1

    assert api.records("c", transaction_id="t").body["records"] == []
    assert api.insert_one("c", body, headers and {"Idempotency-Key": "another"}).body == {}
    assert len(stored.all()) == 2
    assert len(api.insert_one("c", body).body["duplicates"]) == 1


def test_a_chunk_is_read_first_after_one_that_was_known(api: Api, stored: StoredItems, calls: Calls) -> None:
    """Chunks of two customers, with record and row each: one that is known, one new in part, and so on."""
    entries = [buyer(f"c{number}", "t", m=1) for number in (6, 7, 0, 1, 2, 3, 4, 5)]
    known = [entries[number] for number in (0, 1, 3, 4, 5, 6)]
    api.insert_many(buyers(*known))
    calls.clear()

    assert len(api.insert_many(buyers(*entries)).body["duplicates"]) == len(known)

    assert calls.log == ["write", "read", "read", "write", "write", "read", "read", "write"]
    assert len(stored.all()) == 8
