"""Routing behind custom domains, for all spellings of the path."""

from urllib.parse import quote, unquote

import pytest

from metering_handlers import insert_metering_record, insert_metering_records, list_metering_records
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import LICENSE_ARN, Api, buyer, buyers, usage
from tests.unit.proxy_event import proxy_event

BASE_PATHS = ["", "/billing", "/acme/billing/v1", "/insertMeteringRecord", "/listMeteringRecords"]
ENCODED = quote(LICENSE_ARN, safe="")
SPELLINGS = [
    *(LICENSE_ARN, ENCODED, quote(LICENSE_ARN, safe=":"), quote(LICENSE_ARN, safe="/")),
    quote(LICENSE_ARN, safe=":").replace("%2F", "%2f"),
    "".join(f"%{ord(character):02X}" for character in LICENSE_ARN),
]


@pytest.mark.parametrize(
    ("base_path", "spelling"),
    [*((BASE_PATHS[2], spelling) for spelling in SPELLINGS), *((path, ENCODED) for path in BASE_PATHS)],
)
@pytest.mark.parametrize("decoded", [False, True], ids=["as sent", "decoded"])
def test_every_spelling_behind_every_base_path_is_one_customer(
    api: Api, stored: StoredItems, base_path: str, spelling: str, decoded: bool
) -> None:
    """API Gateway may pass a path parameter as it was sent, or decoded."""
    insert = proxy_event("POST", f"/insertMeteringRecord/{spelling}", body=usage(m=1), base_path=base_path)
    list_ = proxy_event("GET", f"/listMeteringRecords/{spelling}", base_path=base_path)
    if decoded:
        for event in (insert, list_):
            event["pathParameters"] = {"customerIdentifier": unquote(spelling)}

    assert api.call(insert_metering_record.lambda_handler, insert).status == 200
    listed = api.call(list_metering_records.lambda_handler, list_)

    assert stored.usage() == [(LICENSE_ARN, {"m": 1})]
    assert [record["customerIdentifier"] for record in listed.body["records"]] == [LICENSE_ARN]


@pytest.mark.parametrize("base_path", BASE_PATHS)
def test_bulk_inserts_work_behind_every_base_path(api: Api, base_path: str) -> None:
    event = proxy_event("POST", "/insertMeteringRecords", body=buyers(buyer("c", m=1)), base_path=base_path)

    assert api.call(insert_metering_records.lambda_handler, event).status == 200


@pytest.mark.parametrize("parameters", [None, {}, {"customerIdentifier": ""}])
def test_a_path_without_a_customer_is_not_found(api: Api, parameters: dict[str, str] | None) -> None:
    event = api.event("POST", "/insertMeteringRecord/c", body=usage(m=1)) | {"pathParameters": parameters}

    assert api.call(insert_metering_record.lambda_handler, event).problem == (404, "not-found")


def test_a_path_of_another_function_is_not_found(api: Api) -> None:
    event = api.event("GET", "/listMeteringRecords/c")

    assert api.call(insert_metering_record.lambda_handler, event).problem == (404, "not-found")
