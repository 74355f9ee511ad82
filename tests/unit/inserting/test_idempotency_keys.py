"""The Idempotency-Key of both inserts."""

import pytest

from metering_handlers import insert_metering_record
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Calls, Rows
from tests.unit.lambda_calls import Answer, Api, buyer, buyers, usage

pytestmark = pytest.mark.usefixtures("small_chunks")

KEY = {"Idempotency-Key": "order 66"}
REPRESENTATION = {"Prefer": "return=representation"}
DAY_SECONDS = 24 * 3_600
# The first of the three small chunks has two customers, the others have three.
ENTRIES = [buyer(f"c{number:03}", m=number) for number in range(8)]
THREE_CHUNKS = buyers(*ENTRIES)
REUSED = (422, "idempotency-key-reused")
CONFLICT = (409, "idempotency-key-conflict")


def problem(answer: Answer) -> tuple[int, str]:
    return answer.status, answer.body["type"].rpartition(":")[2]


def test_a_repeat_writes_nothing_and_is_marked_as_replay(api: Api, stored: StoredItems) -> None:
    """A single insert and a bulk insert of one share a key, however the usage is spelled."""
    first = api.insert_one("c", usage(m=1), KEY)
    assert (first.status, first.body, first.is_replay) == (200, {}, False)

    spelled = '{ "metered_dimensions": [{"dimension_value": 1, "dimension_name": "\\u006d"}] }'
    for repeat in (
        api.insert_one("c", usage(m=1), KEY),
        api.insert_one("%63", spelled, KEY),
        api.insert_many(buyers(buyer("c", m=1)), KEY),
    ):
        assert (repeat.status, repeat.body, repeat.is_replay) == (200, {}, True)
    assert len(stored.all()) == 1


def test_a_replay_in_any_order_answers_as_the_first_did(api: Api, stored: StoredItems) -> None:
    """With moved records and duplicates of either kind, and without one record that it had."""
    api.insert_many(buyers(buyer("c000", m=5), buyer("d", "known", m=1), buyer("d", "changed", m=2)))
    entries = [*ENTRIES, buyer("d", "known", m=1), buyer("d", "changed", m=3), buyer("e", "new", m=4)]
    first = api.insert_many(buyers(*entries), KEY | REPRESENTATION)
    api.request_time += 60_000

    second = api.insert_many(buyers(*reversed(entries)), KEY | REPRESENTATION)

    assert (first.is_replay, second.is_replay) == (False, True)
    assert second.body == first.body
    assert len(first.body["records"]) == 9
    assert first.body["records"][0]["create_timestamp"] > api.request_time - 60_000
    assert [each["differs"] for each in first.body["duplicates"]] == [True, False]
    assert len(stored.all()) == 2 + 9


def test_a_replay_names_duplicates_whose_ids_are_forgotten(api: Api, rows: Rows) -> None:
    api.insert_one("c", usage("t", m=1))
    first = api.insert_one("c", usage("t", m=1), KEY)
    for row in rows.of_entries():
        rows.delete(row["id"]["S"])

    again = api.insert_one("c", usage("t", m=1), KEY)

    assert again.is_replay
    assert again.body == first.body
    assert len(first.body["duplicates"]) == 1


@pytest.mark.parametrize("written", [1, 2])
def test_a_repeat_writes_what_is_missing(api: Api, stored: StoredItems, calls: Calls, written: int) -> None:
    calls.cut_off(THREE_CHUNKS, KEY, after=written)

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert (answer.status, answer.is_replay) == (200, False)
    assert calls.log == ["write", "read"] + ["write"] * (3 - written)
    assert stored.usage() == [(f"c{number:03}", {"m": number}) for number in range(8)]
    calls.clear()
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay
    assert calls.log == ["write", "read"]


@pytest.mark.parametrize(
    "other",
    [
        [buyer("c", m=2)],
        [buyer("d", m=1)],
        [buyer("c", n=1)],
        [buyer("c", m=1, n=0)],
        [buyer("c", "t", m=1)],
        ENTRIES,
    ],
)
def test_other_entries_under_a_used_key_are_refused(
    api: Api, stored: StoredItems, other: list[dict[str, object]]
) -> None:
    api.insert_one("c", usage(m=1), KEY)

    answer = api.insert_many(buyers(*other), KEY)

    assert problem(answer) == REUSED
    assert "new key" not in answer.body["detail"].lower()
    assert "GET /listMeteringRecords/" in answer.body["detail"]
    assert len(stored.all()) == 1


@pytest.mark.parametrize("index", [0, 4, 7], ids="chunk {}".format)
def test_other_entries_never_join_a_half_written_request(
    api: Api, stored: StoredItems, calls: Calls, index: int
) -> None:
    calls.cut_off(THREE_CHUNKS, KEY)

    changed = [*ENTRIES[:index], buyer("x", m=1), *ENTRIES[index + 1 :]]

    assert problem(api.insert_many(buyers(*changed), KEY)) == REUSED
    assert len(stored.all()) == 2


@pytest.mark.parametrize("version", ["canonical_form.DIGEST_VERSION", "request_state.DIVISION_VERSION"])
def test_rows_of_another_release_are_a_409(
    api: Api, stored: StoredItems, calls: Calls, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    """The request may be half-written: nobody can say that these are other entries."""
    calls.cut_off(THREE_CHUNKS, KEY)
    monkeypatch.setattr(f"metering_handlers.inserting.{version}", 2)

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert problem(answer) == CONFLICT
    assert "another release" in answer.body["detail"]
    assert "GET /listMeteringRecords/" in answer.body["detail"]
    assert "may be sent again without an Idempotency-Key" in answer.body["detail"]
    assert len(stored.all()) == 2


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
    assert problem(api.insert_one("c", usage(m=2), KEY)) == REUSED
    api.request_time += 1

    again = api.insert_one("c", usage(m=1), KEY)

    assert (again.status, again.is_replay) == (200, False)
    assert len(stored.all()) == 2
    row = rows.of_requests()["order 66#0"]
    assert int(row["expires_at"]["N"]) == api.request_time // 1_000 + DAY_SECONDS + 3_600


def test_later_rows_copy_the_first_ones_expiry(api: Api, rows: Rows, calls: Calls) -> None:
    calls.cut_off(THREE_CHUNKS, KEY)
    first_expiry = rows.of_requests()["order 66#0"]["expires_at"]
    api.request_time += 3_600_000

    assert api.insert_many(THREE_CHUNKS, KEY).status == 200

    assert [row["expires_at"] for row in rows.of_requests().values()] == [first_expiry] * 3


def test_later_rows_of_an_earlier_use_of_a_key_are_absent(
    api: Api, stored: StoredItems, rows: Rows, calls: Calls
) -> None:
    """The key is used again, and TTL deletes what it likes of the first use.

    Also where a clock behind the first one's would not call them expired.
    """
    api.insert_many(THREE_CHUNKS, KEY)
    rows.delete("order 66#0")
    api.request_time += 1_000
    calls.cut_off(THREE_CHUNKS, KEY)

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert (answer.status, answer.is_replay) == (200, False)
    assert len(stored.all()) == 2 * 8
    assert len({row["expires_at"]["N"] for row in rows.of_requests().values()}) == 1
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay


@pytest.mark.parametrize("is_read", [True, False], ids=["read", "refused by the condition"])
def test_a_later_row_of_a_later_use_is_a_409(
    api: Api, stored: StoredItems, rows: Rows, calls: Calls, is_read: bool
) -> None:
    calls.cut_off(THREE_CHUNKS, KEY, after=2)
    row = rows.of_requests()["order 66#1"]
    rows.change(row, expires_at={"N": str(int(row["expires_at"]["N"]) + 1)})
    if not is_read:
        # It is written after the read.
        calls.on_read = lambda _, **__: {"Responses": {}}

    answer = api.insert_many(THREE_CHUNKS, KEY)

    assert problem(answer) == CONFLICT
    assert "used again" in answer.body["detail"]
    assert len({customer for customer, _ in stored.usage()}) == len(stored.all())


def test_without_a_key_equal_requests_are_stored_twice(api: Api, stored: StoredItems) -> None:
    """Each can be repeated by its request id."""
    for _ in range(2):
        assert not api.insert_many(THREE_CHUNKS).is_replay
    assert len(stored.all()) == 16
    request_id = stored.all()[0]["request_id"]["S"]

    assert api.insert_many(THREE_CHUNKS, {"Idempotency-Key": request_id}).is_replay
    assert len(stored.all()) == 16


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\t", "café"])
def test_a_key_that_breaks_a_rule_is_a_400(api: Api, stored: StoredItems, key: str) -> None:
    answer = api.insert_one("c", usage(m=1), {"Idempotency-Key": key})

    assert answer.status == 400
    (error,) = answer.body["errors"]
    assert (error["location"], error["pointer"]) == ("header", "/idempotency-key")
    assert stored.all() == []


@pytest.mark.parametrize("key", ["x", "~ !", "x" * 255, "a#1", "a#1#0"])
def test_any_printable_ascii_text_is_a_key(api: Api, stored: StoredItems, key: str) -> None:
    """Also one that looks like the row of another."""
    api.insert_many(THREE_CHUNKS, {"Idempotency-Key": "a"})

    assert not api.insert_one("c", usage(m=1), {"Idempotency-Key": key}).is_replay
    assert api.insert_one("c", usage(m=1), {"Idempotency-Key": key}).is_replay
    assert len(stored.all()) == 9


@pytest.mark.parametrize(
    "keys",
    [{"Idempotency-Key": ["a", "b"]}, {"Idempotency-Key": ["a"], "idempotency-key": ["b"]}],
    ids=["one spelling", "two spellings"],
)
def test_two_keys_in_one_request_are_refused(
    api: Api, stored: StoredItems, keys: dict[str, list[str]]
) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1))
    event["multiValueHeaders"] |= keys

    assert api.call(insert_metering_record.lambda_handler, event).status == 400
    assert stored.all() == []
