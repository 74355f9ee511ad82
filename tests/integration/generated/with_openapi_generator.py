"""Calls the API through the Python client of openapi-generator, and prints what it got."""
# mypy: disable-error-code="import-not-found"

import json
import os
from typing import Any

from openapi_client import (
    ApiClient,
    BulkUsage,
    Configuration,
    Entry,
    GroupBy,
    InsertAnswer,
    InsertingApi,
    ListingApi,
    MeteredDimension,
    UnprocessableInsertProblem,
    Usage,
)
from openapi_client.exceptions import UnprocessableEntityException
from urllib3 import BaseHTTPResponse, PoolManager

from tests.integration.generated.signing import signed_headers

CUSTOMER = os.environ["CUSTOMER"]


class SigningPool(PoolManager):
    def request(self, method: str, url: str, **options: Any) -> BaseHTTPResponse:  # type: ignore[override] # noqa: ANN401 - passed on
        if body := options.pop("body", None):
            options["body"] = body.encode()
        options["headers"] |= signed_headers(method, url, options.get("body"))
        return super().request(method, url, **options)


def insert(transaction_id: str, *quantities: int) -> InsertAnswer:
    usage = Usage(metered_dimensions=dimensions(*quantities), transaction_id=transaction_id)
    return inserting.insert_metering_record(CUSTOMER, usage)


def dimensions(*quantities: int) -> list[MeteredDimension]:
    return [MeteredDimension(dimension_name="m", dimension_value=quantity) for quantity in quantities]


client = ApiClient(Configuration(host=os.environ["METERING_API_URL"]))
client.rest_client.pool_manager = SigningPool()
inserting, listing = InsertingApi(client), ListingApi(client)

insert("t-1", 1)
insert("t-2", 2)
entry = Entry(customerIdentifier=CUSTOMER, metered_dimensions=dimensions(3), transaction_id="t-3")
inserting.insert_metering_records(BulkUsage(buyers=[entry]))
replayed = insert("t-1", 1)

values: list[float | None] = []
token: str | None = None
while True:
    page = listing.list_metering_records(CUSTOMER, limit=1, next_token=token)
    values += [usage.value for record in page.records or [] for usage in record.dimension_usage]
    token = page.next_token
    if token is None:
        break

totals = listing.list_metering_records(CUSTOMER, group_by=GroupBy.DIMENSION)
try:
    insert("t-4", 1, 1)
except UnprocessableEntityException as error:
    problem = error.data
assert isinstance(problem, UnprocessableInsertProblem)

print(
    json.dumps(
        {
            "duplicates": [duplicate.transaction_id for duplicate in replayed.duplicates or []],
            "values": values,
            "pending": [(total.dimension, total.pending.quantity) for total in totals.totals or []],
            "record_count": totals.record_count,
            "errors": [problem.status, problem.type, *(violation.code for violation in problem.errors or [])],
        }
    )
)
