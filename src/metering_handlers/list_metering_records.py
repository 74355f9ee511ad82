"""``GET /listMeteringRecords/{customerIdentifier}``: a customer's records and their outcome, or totals."""

from metering_handlers import startup  # isort: skip - has to come first

from collections.abc import Collection, Iterable
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Path, Query
from aws_lambda_powertools.metrics import MetricUnit
from pydantic_core import to_json

from metering_handlers import dynamodb, settings
from metering_handlers.contract import limits
from metering_handlers.contract.answers import TotalsPage
from metering_handlers.contract.attributes import CREATE_TIMESTAMP, ROW_ID
from metering_handlers.contract.identifiers import PathCustomerIdentifier, TransactionId
from metering_handlers.contract.queries import (
    NOT_WITH_GROUP_BY,
    NOT_WITH_TRANSACTION_ID,
    GroupBy,
    Instant,
    RecordStatus,
    SortOrder,
)
from metering_handlers.contract.row_ids import entry_row_id
from metering_handlers.http.problems import bad_parameter
from metering_handlers.http.proxy_events import JSON_MEDIA_TYPE
from metering_handlers.http.resolver import MeteringResolver, lambda_handler_of, logger, metrics
from metering_handlers.inserting.rows import is_known
from metering_handlers.listing import next_token as tokens
from metering_handlers.listing.pages import page_of
from metering_handlers.listing.query import Batch, MeteringTable
from metering_handlers.listing.totals import totals_of

app = MeteringResolver({*NOT_WITH_TRANSACTION_ID, "transaction_id"})
client = dynamodb.connect(max_connections=1)
metering_table = MeteringTable(settings.required("METERING_TABLE_NAME"), client)
idempotency_table = settings.required("IDEMPOTENCY_TABLE_NAME")

FromQuery = Annotated[
    Instant | None, Query(alias="from", description="The earliest `create_timestamp` to list.")
]
ToQuery = Annotated[
    Instant | None, Query(alias="to", description="The latest `create_timestamp` to list; not before `from`.")
]
# These two declare no default: clients send declared defaults, and totals refuse both parameters.
OrderQuery = Annotated[
    SortOrder | None, Query(description="Oldest first (`asc`, the default), or newest first.")
]
LimitQuery = Annotated[
    int | None,
    Query(
        ge=1,
        le=limits.MAX_PAGE_SIZE,
        description=f"Maximum number of records in one page; by default {limits.DEFAULT_PAGE_SIZE}.",
    ),
]
GroupByQuery = Annotated[
    GroupBy | None,
    Query(
        description="Return totals by dimension and status instead of records; not with "
        "`status`, `order` or `limit`."
    ),
]
NextTokenQuery = Annotated[
    str | None,
    Query(
        max_length=limits.MAX_NEXT_TOKEN_LENGTH,
        description="The `next_token` of the previous page; keep the other parameters unchanged.",
    ),
]
TransactionIdQuery = Annotated[
    TransactionId | None,
    Query(
        description="Only the record that holds the entry with this id, if the id is known; not with other "
        "parameters."
    ),
]


@app.get(
    "/listMeteringRecords/<customerIdentifier>",
    operation_id="listMeteringRecords",
    summary="List a customer's records",
    description="Lists the customer's records, sorted by `create_timestamp`, and for each dimension whether "
    "it was billed. With `group_by=dimension`, returns totals instead; with `transaction_id`, the one record "
    "that holds that entry. Reads are strongly consistent: every record inserted before is included.",
    tags=["Listing"],
)
def list_metering_records(  # noqa: PLR0913, PLR0917 - one for each query parameter
    customerIdentifier: Annotated[PathCustomerIdentifier, Path()],  # noqa: N803 - the API's name for it
    status: Annotated[RecordStatus | None, Query(description="Only records with this status.")] = None,
    oldest: FromQuery = None,
    newest: ToQuery = None,
    order: OrderQuery = None,
    limit: LimitQuery = None,
    group_by: GroupByQuery = None,
    next_token: NextTokenQuery = None,
    transaction_id: TransactionIdQuery = None,
) -> Response[str]:
    """List one page of a customer's records, by ``create_timestamp``, or add them up."""
    app.refuse_unknown_parameters()
    if transaction_id is not None:
        _refuse_together("transaction_id", NOT_WITH_TRANSACTION_ID)
        oldest = newest = _timestamp_of_entry(customerIdentifier, transaction_id)
    if group_by:
        _refuse_together("group_by", NOT_WITH_GROUP_BY)
    if oldest is not None and newest is not None and oldest > newest:
        raise bad_parameter("empty_range", "must not be later than to", "from")
    order = order or SortOrder.ASCENDING
    limit = limit or limits.DEFAULT_PAGE_SIZE
    kind = group_by or order
    after = None
    if next_token is not None:
        try:
            after = tokens.decode(next_token, customerIdentifier, kind, oldest=oldest, newest=newest)
        except tokens.InvalidNextTokenError as error:
            detail = f"{error}; keep the other parameters unchanged, or list from the start"
            raise bad_parameter("invalid_next_token", detail, "next_token") from error
    batches: Iterable[Batch] = ()
    if transaction_id is None or oldest is not None:
        batches = metering_table.query(
            customerIdentifier,
            oldest=oldest,
            newest=newest,
            order=order,
            status=status,
            limit=None if group_by else limit,
            after=after,
            remaining_ms=app.lambda_context.get_remaining_time_in_millis,
        )
    if group_by:
        totals, last = totals_of(batches)
        count = totals.records
        token = tokens.encode(customerIdentifier, kind, last)
        page = TotalsPage(totals=totals.rows(), record_count=count, next_token=token)
        body = to_json(page).decode()
    else:
        records = page_of(batches, status=status, limit=limit)
        count = len(records.records)
        body = records.to_json(tokens.encode(customerIdentifier, kind, records.last_timestamp))
        metrics.add_metric("RecordsListed", MetricUnit.Count, count)
    logger.append_keys(records=count)
    return Response(200, JSON_MEDIA_TYPE, body)


def _refuse_together(name: str, others: Collection[str]) -> None:
    given = app.current_event.query_string_parameters
    if conflicting := [other for other in others if other in given]:
        raise bad_parameter(f"not_with_{name}", f"cannot be combined with {name}; remove it", *conflicting)


def _timestamp_of_entry(customer_identifier: str, transaction_id: str) -> int | None:
    """Return the ``create_timestamp`` of the record that holds an entry; None if its id is not known."""
    row_ids = [entry_row_id(customer_identifier, transaction_id)]
    remaining_ms = app.lambda_context.get_remaining_time_in_millis
    # As an insert does it: at the same time, both know the same ids.
    now = app.current_event.request_context.request_time_epoch // 1000
    for item in dynamodb.read_items(client, idempotency_table, ROW_ID, row_ids, remaining_ms).values():
        if is_known(item, now):
            return int(item[CREATE_TIMESTAMP]["N"])
    return None


lambda_handler = lambda_handler_of(app)
startup.finish()
