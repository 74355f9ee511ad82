"""``POST /insertMeteringRecord/{customerIdentifier}``: store one customer's usage."""

from metering_handlers import startup  # isort: skip - has to come first

from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Body, Path

from metering_handlers.contract.identifiers import PathCustomerIdentifier
from metering_handlers.contract.requests import Entry, Usage
from metering_handlers.http.resolver import lambda_handler_of
from metering_handlers.inserting import insertion

app = insertion.insert_resolver()


@app.post(
    "/insertMeteringRecord/<customerIdentifier>",
    operation_id="insertMeteringRecord",
    summary="Insert one customer's usage",
    description="Stores one record. With a `transaction_id` or an `Idempotency-Key`, the request can be "
    "repeated safely.",
    tags=["Inserting"],
)
def insert_metering_record(
    customerIdentifier: Annotated[PathCustomerIdentifier, Path()],  # noqa: N803 - the API's name for it
    usage: Annotated[Usage, Body()],
    idempotency_key: insertion.IdempotencyKeyHeader = None,
    prefer: insertion.PreferHeader = None,
    dry_run: insertion.DryRunQuery = False,
) -> Response[str]:
    """Store one record for the customer in the path."""
    entry = Entry(
        customerIdentifier=customerIdentifier,
        metered_dimensions=usage.metered_dimensions,
        **({} if usage.transaction_id is None else {"transaction_id": usage.transaction_id}),
    )
    return insertion.insert(
        app, [entry], at="", idempotency_key=idempotency_key, prefer=prefer, dry_run=dry_run
    )


lambda_handler = lambda_handler_of(app)
startup.finish()
