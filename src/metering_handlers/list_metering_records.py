"""``GET /listMeteringRecords/{customerIdentifier}``: what is stored, and what became of it."""

from metering_handlers import startup  # isort: skip - before everything else

import json
from decimal import Decimal
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from aws_lambda_powertools.metrics import MetricUnit

from metering_handlers import dynamodb, settings
from metering_handlers import next_token as tokens
from metering_handlers.api import JSON_MEDIA_TYPE, MeteringResolver, lambda_handler_of, logger, metrics
from metering_handlers.metering_table import MeteringTable
from metering_handlers.models import (
    DEFAULT_PAGE_SIZE,
    MAX_NEXT_TOKEN_LENGTH,
    MAX_PAGE_SIZE,
    Instant,
    PathCustomerIdentifier,
    RecordStatus,
    SortOrder,
)
from metering_handlers.outcomes import outcome_of
from metering_handlers.problems import ProblemError, ProblemType, Violation
from metering_handlers.stored_records import shown

QUERY_PARAMETERS = frozenset({"status", "from", "to", "order", "limit", "next_token"})

app = MeteringResolver()
metering_table = MeteringTable(
    settings.required("METERING_TABLE_NAME"), dynamodb.connect(max_attempts=3, max_connections=1)
)


@app.get(
    "/listMeteringRecords/<customerIdentifier>",
    operation_id="listMeteringRecords",
    summary="List a customer's records",
    description="Lists what is stored, sorted by `create_timestamp`, and what became of it. "
    "Reads are strongly consistent: what was inserted is in.",
    tags=["Listing"],
)
def list_metering_records(  # noqa: PLR0913, PLR0917 - one for each query parameter
    customerIdentifier: Annotated[PathCustomerIdentifier, Path()],  # noqa: N803 - the API's name for it
    status: Annotated[RecordStatus | None, Query(description="Only records with this status.")] = None,
    oldest: Annotated[
        Instant | None, Query(alias="from", description="The earliest `create_timestamp` to list.")
    ] = None,
    newest: Annotated[
        Instant | None,
        Query(alias="to", description="The latest `create_timestamp` to list; not before `from`."),
    ] = None,
    order: Annotated[SortOrder, Query(description="Oldest first, or newest first.")] = SortOrder.ASCENDING,
    limit: Annotated[
        int, Query(ge=1, le=MAX_PAGE_SIZE, description="The most records to list in one page.")
    ] = DEFAULT_PAGE_SIZE,
    next_token: Annotated[
        str | None,
        Query(
            max_length=MAX_NEXT_TOKEN_LENGTH,
            description="The `next_token` of the page before, the other parameters unchanged.",
        ),
    ] = None,
) -> Response[str]:
    """List one page of a customer's records, by ``create_timestamp``."""
    for name in app.current_event.query_string_parameters:
        if name not in QUERY_PARAMETERS:
            raise _bad_parameter(name, "unknown_parameter", "is not a known parameter; remove it")
    if oldest is not None and newest is not None and oldest > newest:
        raise _bad_parameter("from", "empty_range", "must not be later than to")
    after = None
    if next_token is not None:
        try:
            after = tokens.decode(next_token, customerIdentifier, order)
        except tokens.InvalidNextTokenError as error:
            raise _bad_parameter(
                "next_token", "invalid_next_token", f"{error}; list from the start"
            ) from error
        # DynamoDB refuses a start outside the range it is asked for.
        if (oldest is not None and Decimal(after) < oldest) or (
            newest is not None and Decimal(after) > newest
        ):
            raise _bad_parameter(
                "next_token", "invalid_next_token", "lies outside from and to; keep them the same"
            )
    page = metering_table.query(
        customerIdentifier,
        status=status,
        oldest=oldest,
        newest=newest,
        order=order,
        limit=limit,
        after_timestamp=after,
        remaining_ms=app.lambda_context.get_remaining_time_in_millis,
    )
    following = None
    if page.last_timestamp is not None:
        following = tokens.encode(customerIdentifier, order, page.last_timestamp)
    logger.append_keys(records=len(page.items))
    metrics.add_metric("RecordsListed", MetricUnit.Count, len(page.items))
    document = {"records": [shown(item, outcome_of(item)) for item in page.items], "next_token": following}
    return Response(200, JSON_MEDIA_TYPE, json.dumps(document, ensure_ascii=False))


def _bad_parameter(name: str, code: str, detail: str) -> ProblemError:
    """Make the answer to a query parameter that breaks a rule which no single type expresses."""
    violation = Violation(location="query", pointer=f"/{name}", code=code, detail=detail)
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        ProblemType.INVALID_PARAMETER,
        f"The query parameter {name} {detail}.",
        errors=[violation],
    )


lambda_handler = lambda_handler_of(app)
startup.finish()
