"""Inserting, as both insert functions do it: entries in, records stored, the answer out."""

import json
from collections.abc import Sequence
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Header
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BeforeValidator

from metering_handlers import settings
from metering_handlers.api import JSON_MEDIA_TYPE, MeteringResolver, logger, metrics
from metering_handlers.metering_table import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER, MeteringTable
from metering_handlers.models import BuyerUsage

RETURN_REPRESENTATION = "return=representation"

Prefer = Annotated[
    str | None,
    BeforeValidator(lambda value: ",".join(value) if isinstance(value, list) else value),
    Header(alias="Prefer", description="`return=representation` returns the stored keys (RFC 7240)."),
]

metering_table = MeteringTable.connect(settings.required("METERING_TABLE_NAME"), max_attempts=1)


def insert(app: MeteringResolver, usages: Sequence[BuyerUsage], prefer: str | None) -> Response[str]:
    """Store one record for each entry and answer the request that ``app`` is serving.

    Parameters
    ----------
    app : MeteringResolver
        The resolver that serves the request.
    usages : Sequence[BuyerUsage]
        The valid entries, in the order they were sent.
    prefer : str | None
        The request's ``Prefer`` header.
    """
    inserted = metering_table.insert(
        usages,
        request_time=app.current_event.request_context.request_time_epoch,
        request_id=app.request_id,
        remaining_ms=app.lambda_context.get_remaining_time_in_millis,
    )
    logger.append_keys(records=len(inserted.keys), retries=inserted.retries, slots_moved=inserted.slots_moved)
    metrics.add_metric("RecordsInserted", MetricUnit.Count, len(inserted.keys))
    if not _wants_representation(prefer):
        return Response(200, JSON_MEDIA_TYPE, "{}")
    keys = [
        {CUSTOMER_IDENTIFIER: key.customer_identifier, CREATE_TIMESTAMP: key.create_timestamp}
        for key in inserted.keys
    ]
    return Response(
        200,
        JSON_MEDIA_TYPE,
        json.dumps({"records": keys}),
        headers={"Preference-Applied": RETURN_REPRESENTATION},
    )


def _wants_representation(prefer: str | None) -> bool:
    """Read the header as RFC 7240, section 2, has it: a list of preferences, each perhaps with parameters."""
    preferences = (prefer or "").split(",")
    return any(
        preference.partition(";")[0].replace(" ", "").replace('"', "").lower() == RETURN_REPRESENTATION
        for preference in preferences
    )
