"""Code shared by both insert functions: store one record for each entry, and respond."""

import json
from collections.abc import Sequence
from http import HTTPStatus
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Header
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BeforeValidator

from metering_handlers import dynamodb, settings
from metering_handlers.api import (
    JSON_MEDIA_TYPE,
    RETRY_AFTER_SECONDS,
    MeteringResolver,
    logger,
    metrics,
)
from metering_handlers.models import MAX_IDEMPOTENCY_KEY_LENGTH, BuyerUsage
from metering_handlers.problems import ProblemError, ProblemType
from metering_handlers.record_writer import (
    WRITE_PARALLELISM,
    IncompleteWriteError,
    KeyReusedError,
    RecordWriter,
    Written,
)
from metering_handlers.table_attributes import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER

RETURN_REPRESENTATION = "return=representation"

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=MAX_IDEMPOTENCY_KEY_LENGTH,
        pattern="^[ -~]+$",
        examples=["usage-2026-11-23T10"],
        description="Makes a repeat safe: with the same key, the same payload is written once.",
    ),
]
Prefer = Annotated[
    str | None,
    BeforeValidator(lambda value: ",".join(value) if isinstance(value, list) else value),
    Header(
        alias="Prefer",
        examples=["return=representation"],
        description="`return=representation` returns the stored keys (RFC 7240).",
    ),
]

record_writer = RecordWriter(
    client=dynamodb.connect(max_connections=WRITE_PARALLELISM),
    metering_table=settings.required("METERING_TABLE_NAME"),
    idempotency_table=settings.required("IDEMPOTENCY_TABLE_NAME"),
    remembered_hours=settings.required_int("IDEMPOTENCY_HOURS"),
)


def insert(
    app: MeteringResolver, usages: Sequence[BuyerUsage], idempotency_key: str | None, prefer: str | None
) -> Response[str]:
    """Store one record for each entry, and return the response to the current request of ``app``.

    Parameters
    ----------
    app : MeteringResolver
        Resolver that handles the request.
    usages : Sequence[BuyerUsage]
        The valid entries, in the order they were sent.
    idempotency_key : str | None
        The ``Idempotency-Key`` header. Without one, the request id is the key, so that a caller can resume a
        partially completed request.
    prefer : str | None
        The ``Prefer`` header.

    Raises
    ------
    ProblemError
        If the key was used for another payload (422), or not all records could be written in time (503).
    """
    key = idempotency_key or app.request_id
    try:
        written = record_writer.write(
            usages,
            key=key,
            request_id=app.request_id,
            request_time=app.current_event.request_context.request_time_epoch,
            remaining_ms=app.lambda_context.get_remaining_time_in_millis,
        )
    except KeyReusedError as error:
        raise ProblemError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            ProblemType.IDEMPOTENCY_KEY_REUSED,
            "This Idempotency-Key was used for another payload; nothing was written. Use a new key for it.",
        ) from error
    except IncompleteWriteError as error:
        _report(error.written)
        metrics.add_metric("IncompleteRequests", MetricUnit.Count, 1)
        raise ProblemError(
            HTTPStatus.SERVICE_UNAVAILABLE,
            ProblemType.INCOMPLETE,
            f"The metering table took {error.written.records} of {len(usages)} record(s) in time. Send the "
            f"request again with the header Idempotency-Key: {key}; what is in is not written again.",
            headers={"Retry-After": str(RETRY_AFTER_SECONDS)},
            members={"inserted": error.written.records, "idempotency_key": key},
        ) from error
    _report(written)
    logger.append_keys(replayed=written.replayed)
    headers = {}
    if written.replayed:
        headers["Idempotent-Replayed"] = "true"
        metrics.add_metric("Replays", MetricUnit.Count, 1)
    if not _wants_representation(prefer):
        return Response(200, JSON_MEDIA_TYPE, "{}", headers=headers)
    keys = [
        {CUSTOMER_IDENTIFIER: usage.customerIdentifier, CREATE_TIMESTAMP: timestamp}
        for usage, timestamp in zip(usages, written.create_timestamps, strict=True)
    ]
    headers["Preference-Applied"] = RETURN_REPRESENTATION
    return Response(200, JSON_MEDIA_TYPE, json.dumps({"records": keys}), headers=headers)


def _report(written: Written) -> None:
    """Add the outcome to the request's log line and to the metrics."""
    logger.append_keys(
        records=written.records,
        inserted=written.inserted,
        chunks=written.chunks,
        retries=written.retries,
        slots_moved=written.slots_moved,
        throttled_chunks=written.throttled_chunks,
    )
    metrics.add_metric("RecordsInserted", MetricUnit.Count, written.inserted)
    if written.throttled_chunks:
        metrics.add_metric("ThrottledChunks", MetricUnit.Count, written.throttled_chunks)
    if written.slots_moved:
        metrics.add_metric("SlotsMoved", MetricUnit.Count, written.slots_moved)


def _wants_representation(prefer: str | None) -> bool:
    """Parse the header (RFC 7240, section 2): a list of preferences, which may have parameters."""
    preferences = (prefer or "").split(",")
    return any(
        preference.partition(";")[0].replace(" ", "").replace('"', "").lower() == RETURN_REPRESENTATION
        for preference in preferences
    )
