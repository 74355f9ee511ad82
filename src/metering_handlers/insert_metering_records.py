"""``POST /insertMeteringRecords``: store many customers' usage."""

from metering_handlers import startup  # isort: skip - has to come first

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body

from metering_handlers.api import MeteringResolver, lambda_handler_of
from metering_handlers.insertion import IdempotencyKey, Prefer, insert
from metering_handlers.models import BulkUsage

app = MeteringResolver()


@app.post(
    "/insertMeteringRecords",
    operation_id="insertMeteringRecords",
    summary="Insert many customers' usage",
    description="Stores one record for each entry of `buyers`, in their order; a customer may have several. "
    "A partially completed request is answered 503, with the key to resume it.",
    tags=["Inserting"],
)
def insert_metering_records(
    usage: Annotated[BulkUsage, Body()], idempotency_key: IdempotencyKey = None, prefer: Prefer = None
) -> Response[str]:
    """Store one record for each entry of ``buyers``."""
    return insert(app, usage.buyers, idempotency_key, prefer)


lambda_handler = lambda_handler_of(app)
startup.finish()
