"""What Powertools costs by itself: the models, logger and metrics of an insert around an empty route."""

from typing import Annotated, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.event_handler.openapi.params import Body, Path
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

from metering_handlers.contract.identifiers import PathCustomerIdentifier
from metering_handlers.contract.requests import Usage
from metering_handlers.inserting.insertion import DryRunQuery, IdempotencyKeyHeader, PreferHeader

logger = Logger()
metrics = Metrics()
app = APIGatewayRestResolver(enable_validation=True)


@app.post("/insertMeteringRecord/<customerIdentifier>")
def _insert(
    customerIdentifier: Annotated[PathCustomerIdentifier, Path()],  # noqa: ARG001, N803
    usage: Annotated[Usage, Body()],  # noqa: ARG001
    idempotency_key: IdempotencyKeyHeader = None,  # noqa: ARG001
    prefer: PreferHeader = None,  # noqa: ARG001
    dry_run: DryRunQuery = False,  # noqa: ARG001
) -> dict[str, str]:
    metrics.add_metric("RecordsInserted", MetricUnit.Count, 1)
    return {}


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Answer a request, and log it."""
    logger.set_correlation_id(event["requestContext"]["extendedRequestId"])
    answer = app.resolve(event, context)
    route = {"method": event["httpMethod"], "route": event["resource"]}
    logger.info("Request answered", **route, status=answer["statusCode"])
    return answer
