"""Calls the API through the client of openapi-python-client, and prints what it got."""
# mypy: disable-error-code="import-not-found"

import json
import os
from collections.abc import Iterator

import httpx
from metering_client import Client
from metering_client.api.inserting import insert_metering_record, insert_metering_records
from metering_client.api.listing import list_metering_records
from metering_client.models import (
    BulkUsage,
    Entry,
    GroupBy,
    InsertAnswer,
    ListAnswer,
    MeteredDimension,
    UnprocessableInsertProblem,
    Usage,
)
from metering_client.types import UNSET, Unset

from tests.integration.generated.signing import signed_headers

CUSTOMER = os.environ["CUSTOMER"]


class Signature(httpx.Auth):
    requires_request_body = True

    def auth_flow(self, request: httpx.Request) -> Iterator[httpx.Request]:  # type: ignore[override]
        request.headers.update(signed_headers(request.method, str(request.url), request.content))
        yield request


def inserted(client: Client, transaction_id: str, *quantities: int) -> object:
    dimensions = [MeteredDimension("m", quantity) for quantity in quantities]
    return insert_metering_record.sync(CUSTOMER, client=client, body=Usage(dimensions, transaction_id))


with Client(
    os.environ["METERING_API_URL"], timeout=httpx.Timeout(60), httpx_args={"auth": Signature()}
) as api:
    for transaction_id, quantity in (("t-1", 1), ("t-2", 2)):
        assert isinstance(inserted(api, transaction_id, quantity), InsertAnswer)
    bulk = BulkUsage([Entry(CUSTOMER, [MeteredDimension("m", 3)], "t-3")])
    assert isinstance(insert_metering_records.sync(client=api, body=bulk), InsertAnswer)
    replayed = inserted(api, "t-1", 1)
    assert isinstance(replayed, InsertAnswer)
    assert replayed.duplicates

    values: list[float | None] = []
    token: str | Unset | None = UNSET
    while token is not None:
        page = list_metering_records.sync(CUSTOMER, client=api, limit=1, next_token=token)
        assert isinstance(page, ListAnswer)
        assert not isinstance(page.records, Unset)
        values += [usage.value for record in page.records for usage in record.dimension_usage]
        token = page.next_token

    totals = list_metering_records.sync(CUSTOMER, client=api, group_by=GroupBy.DIMENSION)
    assert isinstance(totals, ListAnswer)
    assert totals.totals
    problem = inserted(api, "t-4", 1, 1)
    assert isinstance(problem, UnprocessableInsertProblem)
    assert problem.errors

print(
    json.dumps(
        {
            "duplicates": [duplicate.transaction_id for duplicate in replayed.duplicates],
            "values": values,
            "pending": [(total.dimension, total.pending.quantity) for total in totals.totals],
            "record_count": totals.record_count,
            "errors": [problem.status, problem.type_, *(violation.code for violation in problem.errors)],
        }
    )
)
