"""Bodies as text: strict JSON, content types, problem documents."""

import base64
import json
import time

import pytest

from metering_handlers import insert_metering_record
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

ONE_DIMENSION = '{"metered_dimensions":[{"dimension_name":"m","dimension_value":%s}]}'
MALFORMED = [
    *(None, "", "{", "metered_dimensions", "[" * 100_000),
    *(ONE_DIMENSION % value for value in ("NaN", "Infinity", "1" * 5_000)),
    '{"metered_dimensions":[],"metered_dimensions":[]}',
    '{"metered_dimensions":[],"transaction_id":"a","transaction_id":"a"}',
]
# Powertools takes the first element of an array where an object is expected.
NO_OBJECTS = ["null", "1", '"text"', "[]", json.dumps([usage(m=1)])]


@pytest.mark.parametrize(
    ("body", "status"), [*((body, 400) for body in MALFORMED), *((body, 422) for body in NO_OBJECTS)]
)
def test_a_body_must_be_a_json_object(api: Api, stored: StoredItems, body: str | None, status: int) -> None:
    answer = api.insert_one("c", body)

    assert answer.status == answer.body["status"] == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["instance"] == EXTENDED_REQUEST_ID
    assert stored.all() == []


@pytest.mark.parametrize("body", ["e", base64.b64encode(b'{"\xff": 1}').decode()])
def test_a_binary_body_that_is_no_utf_8_is_refused(api: Api, body: str) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=body) | {"isBase64Encoded": True}

    assert api.call(insert_metering_record.lambda_handler, event).problem == (400, "malformed-json")


def test_a_byte_order_mark_is_ignored(api: Api) -> None:
    assert api.insert_one("c", "\ufeff\ufeff" + json.dumps(usage(m=1))).outcome == (200, {}, False)


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        *(("application/json; charset=utf-8", 200), ("Application/JSON", 200)),
        *(("text/plain", 415), ("application/x-www-form-urlencoded", 415), ("multipart/form-data", 415)),
        *(("application/jsonl", 415), ("json", 415)),
    ],
)
def test_only_json_content_is_accepted(api: Api, stored: StoredItems, content_type: str, status: int) -> None:
    assert api.insert_one("c", usage(m=1), {"Content-Type": content_type}).status == status
    assert len(stored.all()) == (status == 200)


def test_a_duplicate_among_many_members_is_found_at_once(api: Api) -> None:
    """A body has room for 500,000 members."""
    members = ",".join(f'"{number}":1' for number in range(100_000))
    started = time.process_time()

    answer = api.insert_one("c", f'{{{members},"99999":1}}')

    assert (answer.status, "'99999' twice" in answer.body["detail"]) == (400, True)
    assert time.process_time() - started < 10
