"""The Idempotency-Key of both inserts."""

import pytest

from metering_handlers import insert_metering_record
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import THREE_CHUNKS, WITHOUT_IDS, Calls, Rows
from tests.unit.lambda_calls import KEY, REPRESENTATION, Api, Body, buyer, buyers, usage

pytestmark = pytest.mark.usefixtures("small_chunks")

DAY_SECONDS = 24 * 3_600
REUSED = (422, "idempotency-key-reused")
CONFLICT = (409, "idempotency-key-conflict")


def test_a_repeat_writes_nothing_and_is_marked_as_replay(api: Api, stored: StoredItems) -> None:
    """A single insert and a bulk insert of one share a key, however the usage is spelled."""
    assert api.insert_one("c", usage(m=1), KEY).outcome == (200, {}, False)

    spelled = '{ "metered_dimensions": [{"dimension_value": 1, "dimension_name": "\\u006d"}] }'
    for repeat in (
        api.insert_one("c", usage(m=1), KEY),
        api.insert_one("%63", spelled, KEY),
        api.insert_many(buyers(buyer("c", m=1)), KEY),
    ):
        assert repeat.outcome == (200, {}, True)
    assert len(stored.all()) == 1


def test_a_replay_in_any_order_answers_as_the_first_did(api: Api, stored: StoredItems, rows: Rows) -> None:
    """With moved records and duplicates of either kind, though their ids are forgotten."""
    api.insert_many(buyers(buyer("c0", m=5), buyer("d", "known", m=1), buyer("d", "changed", m=2)))
    entries = [*WITHOUT_IDS, buyer("d", "known", m=1), buyer("d", "changed", m=3), buyer("e", "new", m=4)]
    first = api.insert_many(buyers(*entries), KEY | REPRESENTATION)
    api.request_time += 60_000
    for row in rows.of_entries():
        rows.delete(row["id"]["S"])

    second = api.insert_many(buyers(*reversed(entries)), KEY | REPRESENTATION)

    assert second.outcome == (200, first.body, True)
    assert not first.is_replay
    assert len(first.body["records"]) == 9
    assert first.body["records"][0]["create_timestamp"] > api.request_time - 60_000
    assert [each["differs"] for each in first.body["duplicates"]] == [True, False]
    assert len(stored.all()) == 2 + 9


@pytest.mark.parametrize(("written", "records"), [(1, 2), (2, 5)])
def test_a_repeat_writes_what_is_missing(  # noqa: PLR0917
    api: Api, stored: StoredItems, rows: Rows, calls: Calls, written: int, records: int
) -> None:
    """What is written today must not get into yesterday's closed report."""
    first_time = api.request_time
    calls.cut_off(THREE_CHUNKS, KEY, after=written)
    first_expiry = rows.of_requests()["order 66#0"]["expires_at"]
    api.request_time += 10 * 3_600_000

    assert api.insert_many(THREE_CHUNKS, KEY).outcome == (200, {}, False)
    assert calls.log == ["write", "read"] + ["write"] * (3 - written)
    assert stored.usage() == [(f"c{number}", {"m": number}) for number in range(8)]
    assert stored.timestamps() == [first_time] * records + [api.request_time] * (8 - records)
    assert [row["expires_at"] for row in rows.of_requests().values()] == [first_expiry] * 3
    calls.clear()
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay
    assert calls.log == ["write", "read"]


@pytest.mark.parametrize("written", [1, 3], ids=["half written", "written"])
@pytest.mark.parametrize(
    "others",
    [
        # One entry of each chunk is another.
        *([*WITHOUT_IDS[:index], buyer("x", m=1), *WITHOUT_IDS[index + 1 :]] for index in (0, 4, 7)),
        *([*WITHOUT_IDS[:7], buyer("c7", **usage_)] for usage_ in ({"m": 8}, {"n": 7}, {"m": 7, "n": 0})),
        *([*WITHOUT_IDS[:7], buyer("c7", "t", m=7)], WITHOUT_IDS[:7], [buyer("c", m=1)]),
    ],
)
def test_other_entries_under_a_used_key_are_refused(
    api: Api, stored: StoredItems, calls: Calls, others: list[Body], written: int
) -> None:
    if written < 3:
        calls.cut_off(THREE_CHUNKS, KEY, after=written)
    else:
        api.insert_many(THREE_CHUNKS, KEY)
    before = stored.all()

    answer = api.insert_many(buyers(*others), KEY)

    assert answer.problem == REUSED
    assert "new key" not in answer.body["detail"].lower()
    assert "GET /listMeteringRecords/" in answer.body["detail"]
    assert stored.all() == before


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


def test_a_key_is_remembered_for_a_day_and_an_hour(api: Api, stored: StoredItems, rows: Rows) -> None:
    """Not longer, though DynamoDB's TTL has not deleted the row."""
    api.request_time -= api.request_time % 1_000
    api.insert_one("c", usage(m=1), KEY)
    expires_at = api.request_time // 1_000 + DAY_SECONDS + 3_600
    row = rows.of_requests()["order 66#0"]
    assert int(row["expires_at"]["N"]) == expires_at
    assert int(row["delete_after"]["N"]) == expires_at + DAY_SECONDS
    api.request_time = expires_at * 1_000 + 999
    assert api.insert_one("c", usage(m=1), KEY).is_replay
    assert api.insert_one("c", usage(m=2), KEY).problem == REUSED
    api.request_time += 1

    assert api.insert_one("c", usage(m=1), KEY).outcome == (200, {}, False)
    assert len(stored.all()) == 2
    row = rows.of_requests()["order 66#0"]
    assert int(row["expires_at"]["N"]) == api.request_time // 1_000 + DAY_SECONDS + 3_600


def test_rows_of_an_earlier_use_are_absent(api: Api, stored: StoredItems, rows: Rows, calls: Calls) -> None:
    """The key is used again, and TTL deletes what it likes of the first use.

    Also where a clock behind the first one's would not call them expired.
    """
    api.insert_many(THREE_CHUNKS, KEY)
    rows.delete("order 66#0")
    api.request_time += 1_000
    calls.cut_off(THREE_CHUNKS, KEY)

    assert api.insert_many(THREE_CHUNKS, KEY).outcome == (200, {}, False)
    assert len(stored.all()) == 2 * 8
    assert len({row["expires_at"]["N"] for row in rows.of_requests().values()}) == 1
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "refused by the condition"])
def test_a_later_row_of_a_later_use_is_a_409(
    api: Api, stored: StoredItems, rows: Rows, calls: Calls, is_read: bool
) -> None:
    calls.cut_off(THREE_CHUNKS, KEY, after=2)
    row = rows.of_requests()["order 66#1"]
    rows.expire_at(row, int(row["expires_at"]["N"]) + 1)
    if not is_read:
        # It is written after the read.
        calls.on_read = lambda _, **__: {"Responses": {}}

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert answer.problem == CONFLICT
    assert "used again" in answer.body["detail"]
    assert len({customer for customer, _ in stored.usage()}) == len(stored.all())


def test_without_a_key_equal_requests_are_stored_twice(api: Api, stored: StoredItems) -> None:
    """Each can be repeated by its request id."""
    for _ in range(2):
        assert not api.insert_many(THREE_CHUNKS).is_replay
    request_id = stored.all()[0]["request_id"]["S"]

    assert api.insert_many(THREE_CHUNKS, {"Idempotency-Key": request_id}).is_replay
    assert len(stored.all()) == 16


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "café"])
def test_a_key_that_breaks_a_rule_is_a_400(api: Api, stored: StoredItems, key: str) -> None:
    answer = api.insert_one("c", usage(m=1), {"Idempotency-Key": key})

    (error,) = answer.body["errors"]
    assert (answer.status, error["location"], error["pointer"]) == (400, "header", "/idempotency-key")
    assert stored.all() == []


@pytest.mark.parametrize("key", ["x", "~ !", "x" * 255, "a#1", "a#1#0"])
def test_any_printable_ascii_text_is_a_key(api: Api, stored: StoredItems, key: str) -> None:
    """Also one that looks like the row of another."""
    api.insert_many(THREE_CHUNKS, {"Idempotency-Key": "a"})

    for is_replay in (False, True):
        assert api.insert_one("c", usage(m=1), {"Idempotency-Key": key}).outcome == (200, {}, is_replay)
    assert len(stored.all()) == 9


@pytest.mark.parametrize(
    "keys",
    [{"Idempotency-Key": ["a", "b"]}, {"Idempotency-Key": ["a"], "idempotency-key": ["b"]}],
    ids=["one spelling", "two spellings"],
)
def test_two_keys_in_a_request_are_refused(api: Api, stored: StoredItems, keys: dict[str, list[str]]) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1))
    event["multiValueHeaders"] |= keys

    assert api.call(insert_metering_record.lambda_handler, event).status == 400
    assert stored.all() == []
