"""``POST /insertMeteringRecord/{customerIdentifier}``: store one customer's usage."""

from metering_handlers import startup  # isort: skip - has to come first

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path

from metering_handlers.api import MeteringResolver, lambda_handler_of
from metering_handlers.insertion import IdempotencyKey, Prefer, insert
from metering_handlers.models import BuyerUsage, PathCustomerIdentifier, Usage

app = MeteringResolver()


@app.post(
    "/insertMeteringRecord/<customerIdentifier>",
    operation_id="insertMeteringRecord",
    summary="Insert one customer's usage",
    description="Stores one record. With an `Idempotency-Key`, the request can be repeated safely.",
    tags=["Inserting"],
)
def insert_metering_record(
    customerIdentifier: Annotated[PathCustomerIdentifier, Path()],  # noqa: N803 - the API's name for it
    usage: Annotated[Usage, Body()],
    idempotency_key: IdempotencyKey = None,
    prefer: Prefer = None,
) -> Response[str]:
    """Store one record for the customer in the path."""
    entry = BuyerUsage(customerIdentifier=customerIdentifier, metered_dimensions=usage.metered_dimensions)
    return insert(app, [entry], idempotency_key, prefer)


lambda_handler = lambda_handler_of(app)
startup.finish()
