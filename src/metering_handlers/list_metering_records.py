"""``GET /listMeteringRecords/{customerIdentifier}``: a customer's records and their outcome, or totals."""

from metering_handlers import startup  # isort: skip - has to come first

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
from metering_handlers.listing import page_of, totals_of
from metering_handlers.metering_table import MeteringTable
from metering_handlers.models import (
    DEFAULT_PAGE_SIZE,
    MAX_NEXT_TOKEN_LENGTH,
    MAX_PAGE_SIZE,
    NOT_WITH_GROUP_BY,
    GroupBy,
    Instant,
    PathCustomerIdentifier,
    RecordStatus,
    SortOrder,
)
from metering_handlers.problems import ProblemError, ProblemType, Violation

QUERY_PARAMETERS = frozenset({"status", "from", "to", "order", "limit", "group_by", "next_token"})

app = MeteringResolver()
metering_table = MeteringTable(settings.required("METERING_TABLE_NAME"), dynamodb.connect(max_connections=1))


@app.get(
    "/listMeteringRecords/<customerIdentifier>",
    operation_id="listMeteringRecords",
    summary="List a customer's records",
    description="Lists the customer's records, sorted by `create_timestamp`, and for each dimension whether "
    "it was billed. With `group_by=dimension`, returns totals instead. Reads are strongly consistent: every "
    "record inserted before is included.",
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
        int, Query(ge=1, le=MAX_PAGE_SIZE, description="Maximum number of records in one page.")
    ] = DEFAULT_PAGE_SIZE,
    group_by: Annotated[
        GroupBy | None,
        Query(
            description="Return totals by dimension and status instead of records; not with "
            "`status`, `order` or `limit`."
        ),
    ] = None,
    next_token: Annotated[
        str | None,
        Query(
            max_length=MAX_NEXT_TOKEN_LENGTH,
            description="The `next_token` of the previous page; keep the other parameters unchanged.",
        ),
    ] = None,
) -> Response[str]:
    """List one page of a customer's records, by ``create_timestamp``, or add them up."""
    given = app.current_event.query_string_parameters
    for name in given:
        if name not in QUERY_PARAMETERS:
            raise _bad_parameter("unknown_parameter", "is not a known parameter; remove it", name)
    if group_by and (conflicting := [name for name in NOT_WITH_GROUP_BY if name in given]):
        raise _bad_parameter("not_with_group_by", "cannot be combined with group_by; remove it", *conflicting)
    if oldest is not None and newest is not None and oldest > newest:
        raise _bad_parameter("empty_range", "must not be later than to", "from")
    listing = group_by or order
    after = None
    if next_token is not None:
        try:
            after = tokens.decode(next_token, customerIdentifier, listing)
        except tokens.InvalidNextTokenError as error:
            raise _bad_parameter(
                "invalid_next_token", f"{error}; list from the start", "next_token"
            ) from error
        # DynamoDB refuses a start key outside the queried range.
        if (oldest is not None and Decimal(after) < oldest) or (
            newest is not None and Decimal(after) > newest
        ):
            raise _bad_parameter(
                "invalid_next_token", "lies outside from and to; keep them the same", "next_token"
            )
    remaining_ms = app.lambda_context.get_remaining_time_in_millis
    batches = metering_table.query(
        customerIdentifier,
        oldest=oldest,
        newest=newest,
        order=order,
        status=status,
        limit=None if group_by else limit,
        after_timestamp=after,
        remaining_ms=remaining_ms,
    )
    if group_by:
        added = totals_of(batches, remaining_ms=remaining_ms)
        last, count = added.last_timestamp, added.totals.records
        members = f'"totals": {json.dumps(added.totals.rows(), ensure_ascii=False)}, "records": {count}'
    else:
        page = page_of(batches, status=status, limit=limit, remaining_ms=remaining_ms)
        last, count = page.last_timestamp, len(page.records)
        members = f'"records": [{b", ".join(page.records).decode()}]'
        metrics.add_metric("RecordsListed", MetricUnit.Count, count)
    logger.append_keys(records=count)
    following = None if last is None else tokens.encode(customerIdentifier, listing, last)
    return Response(200, JSON_MEDIA_TYPE, f'{{{members}, "next_token": {json.dumps(following)}}}')


def _bad_parameter(code: str, detail: str, *names: str) -> ProblemError:
    """Create the answer to query parameters that break a rule which no single type expresses."""
    return ProblemError(
        HTTPStatus.BAD_REQUEST,
        ProblemType.INVALID_PARAMETER,
        f"The query parameter {', '.join(names)} {detail}.",
        errors=[Violation(location="query", pointer=f"/{name}", code=code, detail=detail) for name in names],
    )


lambda_handler = lambda_handler_of(app)
startup.finish()
