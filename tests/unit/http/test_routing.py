"""Routing behind custom domains, for all spellings of the path."""

from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest

from metering_handlers import insert_metering_record, insert_metering_records, list_metering_records
from tests.unit.lambda_calls import Api, buyer, usage
from tests.unit.proxy_event import as_json, proxy_event

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems

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


def with_decoded_parameters(event: dict[str, Any]) -> dict[str, Any]:
    """API Gateway's other way to hand over path parameters."""
    decoded = {name: unquote(value) for name, value in event["pathParameters"].items()}
    return event | {"pathParameters": decoded}


@pytest.mark.parametrize("base_path", BASE_PATHS)
@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("decoded", [False, True], ids=["as sent", "decoded"])
def test_every_spelling_behind_every_base_path_is_one_customer(
    api: Api, stored: "StoredItems", base_path: str, spelling: str, decoded: bool
) -> None:
    insert = proxy_event(
        "POST",
        f"/insertMeteringRecord/{spelling}",
        body=as_json(usage(m=1)),
        headers=JSON,
        base_path=base_path,
    )
    list_ = proxy_event("GET", f"/listMeteringRecords/{spelling}", base_path=base_path)
    if decoded:
        insert, list_ = with_decoded_parameters(insert), with_decoded_parameters(list_)

    assert api.call(insert_metering_record.lambda_handler, insert).status == 200
    listed = api.call(list_metering_records.lambda_handler, list_)

    assert [item["customerIdentifier"]["S"] for item in stored.all()] == [LICENSE_ARN]
    assert [record["customerIdentifier"] for record in listed.body["records"]] == [LICENSE_ARN]


@pytest.mark.parametrize("base_path", BASE_PATHS)
def test_many_customers_usage_is_taken_behind_every_base_path(
    api: Api, stored: "StoredItems", base_path: str
) -> None:
    event = proxy_event(
        "POST",
        "/insertMeteringRecords",
        body=as_json({"buyers": [buyer("c", m=1)]}),
        headers=JSON,
        base_path=base_path,
    )

    assert api.call(insert_metering_records.lambda_handler, event).status == 200
    assert len(stored.all()) == 1


@pytest.mark.parametrize("customer", ["ExWo/", "/ExWo", "a//b", "/", "//"])
def test_a_misplaced_slash_in_a_body_is_refused_as_in_a_path(
    api: Api, stored: "StoredItems", customer: str
) -> None:
    answer = api.insert_many({"buyers": [buyer(customer, m=1)]})

    assert answer.status == 422
    assert answer.problem_codes() == {("/buyers/0/customerIdentifier", "misplaced_slash")}
    assert "slash" in answer.body["errors"][0]["detail"]
    assert stored.all() == []
    assert api.records(customer).status == 422


@pytest.mark.parametrize("parameters", [None, {}, {"customerIdentifier": ""}])
def test_usage_without_a_customer_is_not_found(
    api: Api, stored: "StoredItems", parameters: dict[str, str] | None
) -> None:
    event = proxy_event("POST", "/insertMeteringRecord/c", body=as_json(usage(m=1)), headers=JSON)

    answer = api.call(insert_metering_record.lambda_handler, event | {"pathParameters": parameters})

    assert answer.status == 404
    assert stored.all() == []


def test_a_path_of_another_function_is_not_found(api: Api) -> None:
    answer = api.call(insert_metering_record.lambda_handler, api.event("GET", "/listMeteringRecords/c"))

    assert answer.status == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
