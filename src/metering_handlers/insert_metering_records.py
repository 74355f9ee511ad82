"""``POST /insertMeteringRecords``: store many customers' usage."""

from metering_handlers import startup  # isort: skip - has to come first

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body

from metering_handlers.contract.requests import BulkUsage
from metering_handlers.http.resolver import lambda_handler_of
from metering_handlers.inserting import insertion

app = insertion.insert_resolver()


@app.post(
    "/insertMeteringRecords",
    operation_id="insertMeteringRecords",
    summary="Insert many customers' usage",
    description="Stores the entries of `buyers`, those of one customer added up. A partially completed "
    "request is answered 503, which says how to complete it.",
    tags=["Inserting"],
)
def insert_metering_records(
    usage: Annotated[BulkUsage, Body()],
    idempotency_key: insertion.IdempotencyKeyHeader = None,
    prefer: insertion.PreferHeader = None,
    dry_run: insertion.DryRunQuery = False,
) -> Response[str]:
    """Store the entries of ``buyers``."""
    at = "/buyers/{index}"
    return insertion.insert(
        app, usage.buyers, at=at, idempotency_key=idempotency_key, prefer=prefer, dry_run=dry_run
    )


lambda_handler = lambda_handler_of(app)
startup.finish()
