"""Routing behind custom domains, for all spellings of the path."""

from urllib.parse import quote, unquote

import pytest

from metering_handlers import insert_metering_record, insert_metering_records, list_metering_records
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import Api, buyer, buyers, usage
from tests.unit.proxy_event import as_json, proxy_event

LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
JSON = {"Content-Type": "application/json"}
BASE_PATHS = ["", "/billing", "/acme/billing/v1", "/insertMeteringRecord", "/listMeteringRecords"]
SPELLINGS = [
    LICENSE_ARN,
    quote(LICENSE_ARN, safe=":"),
    quote(LICENSE_ARN, safe="/"),
    quote(LICENSE_ARN, safe=""),
    quote(LICENSE_ARN, safe=":").replace("%2F", "%2f"),
    "".join(f"%{ord(character):02X}" for character in LICENSE_ARN),
]


@pytest.mark.parametrize(
    ("base_path", "spelling"),
    [*((BASE_PATHS[2], spelling) for spelling in SPELLINGS), *((path, SPELLINGS[3]) for path in BASE_PATHS)],
)
@pytest.mark.parametrize("decoded", [False, True], ids=["as sent", "decoded"])
def test_every_spelling_behind_every_base_path_is_one_customer(
    api: Api, stored: StoredItems, base_path: str, spelling: str, decoded: bool
) -> None:
    """API Gateway may pass a path parameter as it was sent, or decoded."""
    insert = proxy_event(
        "POST",
        f"/insertMeteringRecord/{spelling}",
        body=as_json(usage(m=1)),
        headers=JSON,
        base_path=base_path,
    )
    list_ = proxy_event("GET", f"/listMeteringRecords/{spelling}", base_path=base_path)
    if decoded:
        for event in (insert, list_):
            event["pathParameters"] = {"customerIdentifier": unquote(spelling)}

    assert api.call(insert_metering_record.lambda_handler, insert).status == 200
    listed = api.call(list_metering_records.lambda_handler, list_)

    assert [item["customerIdentifier"]["S"] for item in stored.all()] == [LICENSE_ARN]
    assert [record["customerIdentifier"] for record in listed.body["records"]] == [LICENSE_ARN]


@pytest.mark.parametrize("base_path", BASE_PATHS)
def test_bulk_inserts_work_behind_every_base_path(api: Api, stored: StoredItems, base_path: str) -> None:
    body = as_json(buyers(buyer("c", m=1)))
    event = proxy_event("POST", "/insertMeteringRecords", body=body, headers=JSON, base_path=base_path)

    assert api.call(insert_metering_records.lambda_handler, event).status == 200
    assert len(stored.all()) == 1


@pytest.mark.parametrize("customer", ["ExWo/", "/ExWo", "a//b", "/", "//"])
def test_a_misplaced_slash_in_a_body_is_refused_as_in_a_path(api: Api, customer: str) -> None:
    answer = api.insert_many(buyers(buyer(customer, m=1)))

    assert answer.status == api.records(customer).status == 422
    assert answer.problem_codes() == {("/buyers/0/customerIdentifier", "misplaced_slash")}


@pytest.mark.parametrize("parameters", [None, {}, {"customerIdentifier": ""}])
def test_a_path_without_a_customer_is_not_found(api: Api, parameters: dict[str, str] | None) -> None:
    event = proxy_event("POST", "/insertMeteringRecord/c", body=as_json(usage(m=1)), headers=JSON)

    answer = api.call(insert_metering_record.lambda_handler, event | {"pathParameters": parameters})

    assert answer.status == 404


def test_a_path_of_another_function_is_not_found(api: Api) -> None:
    answer = api.call(insert_metering_record.lambda_handler, api.event("GET", "/listMeteringRecords/c"))

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
