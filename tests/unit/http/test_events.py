"""Proxy events: paths in all spellings, and bodies as text."""

import base64
import json
import time
from urllib.parse import quote, unquote

import pytest

from metering_handlers import insert_metering_record, insert_metering_records, list_metering_records
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import LICENSE_ARN, Api, buyer, buyers, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

BASE_PATHS = ["", "/billing", "/acme/billing/v1", "/insertMeteringRecord", "/listMeteringRecords"]
ENCODED = quote(LICENSE_ARN, safe="")
SPELLINGS = [
    *(LICENSE_ARN, ENCODED, quote(LICENSE_ARN, safe=":"), quote(LICENSE_ARN, safe="/")),
    quote(LICENSE_ARN, safe=":").replace("%2F", "%2f"),
    "".join(f"%{ord(character):02X}" for character in LICENSE_ARN),
]
ONE_DIMENSION = '{"metered_dimensions":[{"dimension_name":"m","dimension_value":%s}]}'
MALFORMED = [
    *(None, "", "{", "metered_dimensions", "[" * 100_000),
    *(ONE_DIMENSION % value for value in ("NaN", "Infinity", "1" * 5_000)),
    '{"metered_dimensions":[],"metered_dimensions":[]}',
    '{"metered_dimensions":[],"transaction_id":"a","transaction_id":"a"}',
]
# Powertools takes the first element of an array where an object is expected.
NO_OBJECTS = ["null", "1", '"text"', "[]", json.dumps([usage(m=1)])]

insert = insert_metering_record.lambda_handler


# Paths.


@pytest.mark.parametrize(
    ("base_path", "spelling"),
    [*((BASE_PATHS[2], spelling) for spelling in SPELLINGS), *((path, ENCODED) for path in BASE_PATHS)],
)
@pytest.mark.parametrize("decoded", [False, True], ids=["as sent", "decoded"])
def test_every_spelling_behind_every_base_path_is_one_customer(
    api: Api, stored: StoredItems, base_path: str, spelling: str, decoded: bool
) -> None:
    """API Gateway may pass a path parameter as it was sent, or decoded."""
    one = api.event("POST", f"/insertMeteringRecord/{spelling}", usage(m=1), base_path=base_path)
    many = api.event("POST", "/insertMeteringRecords", buyers(buyer("c", m=1)), base_path=base_path)
    list_ = api.event("GET", f"/listMeteringRecords/{spelling}", base_path=base_path)
    if decoded:
        for event in (one, list_):
            event["pathParameters"] = {"customerIdentifier": unquote(spelling)}

    assert api.call(insert, one).status == 200
    assert api.call(insert_metering_records.lambda_handler, many).status == 200
    listed = api.call(list_metering_records.lambda_handler, list_)

    assert stored.usage() == [(LICENSE_ARN, {"m": 1}), ("c", {"m": 1})]
    assert [record["customerIdentifier"] for record in listed.body["records"]] == [LICENSE_ARN]


def test_a_path_without_a_customer_or_of_another_function_is_not_found(api: Api) -> None:
    without = [
        api.event("POST", "/insertMeteringRecord/c", usage(m=1)) | {"pathParameters": parameters}
        for parameters in (None, {}, {"customerIdentifier": ""})
    ]

    for event in [*without, api.event("GET", "/listMeteringRecords/c")]:
        assert api.call(insert, event).problem == (404, "not-found")


# Bodies.


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
    event = api.event("POST", "/insertMeteringRecord/c", body) | {"isBase64Encoded": True}

    assert api.call(insert, event).problem == (400, "malformed-json")


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
