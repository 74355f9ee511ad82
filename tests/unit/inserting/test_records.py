"""Records that inserts write to the metering table."""

import pytest

from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, buyer, buyers
from tests.unit.proxy_event import EXTENDED_REQUEST_ID
from tools.example_requests import CUSTOMER, INSERT_MANY, INSERT_ONE


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


def test_the_seeds_bulk_example_is_one_record_of_four_dimensions(api: Api, stored: StoredItems) -> None:
    assert api.insert_many(INSERT_MANY).outcome == (200, {}, False)
    assert stored.usage() == [
        (CUSTOMER, {"metered_1_id": 10, "metered_2_id": 20, "metered_3_id": 20, "metered_id_1": 10})
    ]


def test_entries_of_one_customer_are_added_up(api: Api, stored: StoredItems) -> None:
    entries = [buyer("c", m=1), buyer("d", m=10), buyer("c", m=2, n=0), buyer("d", "t", m=20, n=5)]

    assert api.insert_many(buyers(*entries)).body == {}

    assert stored.usage() == [("c", {"m": 3, "n": 0}), ("d", {"m": 30, "n": 5})]


@pytest.mark.parametrize(("with_id", "pieces"), [(97, [97]), (98, [98]), (99, [98, 1])])
def test_entries_with_ids_take_as_many_records_as_they_need(
    api: Api, stored: StoredItems, with_id: int, pieces: list[int]
) -> None:
    """With an entry that has none: it goes with the first of them."""
    entries = [buyer("c", f"{number:02}", m=1) for number in range(with_id)]

    assert api.insert_many(buyers(*entries, buyer("c", n=1))).status == 200

    first, *others = pieces
    assert stored.usage() == [("c", {"m": first, "n": 1}), *(("c", {"m": piece}) for piece in others)]
