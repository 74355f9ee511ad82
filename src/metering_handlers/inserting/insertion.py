"""Code shared by both insert functions: check what the deployment allows, store the entries, and answer."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

from aws_lambda_powertools.event_handler import Response
from aws_lambda_powertools.event_handler.openapi.params import Header, Query
from aws_lambda_powertools.metrics import MetricUnit
from pydantic import BeforeValidator
from pydantic_core import PydanticCustomError

from metering_handlers import dynamodb, settings
from metering_handlers.contract.answers import Inserted
from metering_handlers.contract.identifiers import IdempotencyKey, IdentifierKind
from metering_handlers.contract.problem_types import SAFE_REPEAT, SEE_STORED, ProblemType
from metering_handlers.contract.requests import Entry, broken_rules
from metering_handlers.http.problems import ProblemError, refusal
from metering_handlers.http.proxy_events import JSON_MEDIA_TYPE
from metering_handlers.http.resolver import RETRY_AFTER, MeteringResolver, logger, metrics
from metering_handlers.inserting import known_dimensions, writer
from metering_handlers.inserting.canonical_form import canonical_form
from metering_handlers.inserting.deployment_rules import DeploymentRules
from metering_handlers.inserting.request_state import InsertRequest, KeyConflictError, KeyReusedError, Tables
from metering_handlers.inserting.subscribers import Subscribers

RETURN_REPRESENTATION = "return=representation"

IdempotencyKeyHeader = Annotated[
    IdempotencyKey | None,
    Header(
        alias="Idempotency-Key",
        examples=["usage-2026-11-23T10"],
        description="Makes a repeat safe: with the same key, the same entries are stored once, in any order.",
    ),
]
PreferHeader = Annotated[
    str | None,
    BeforeValidator(lambda value: ",".join(value) if isinstance(value, list) else value),
    Header(
        alias="Prefer",
        examples=["return=representation"],
        description="`return=representation` returns the stored keys (RFC 7240).",
    ),
]


def _parse_flag(value: object) -> bool:
    """Refuse what only may mean true, such as ``yes``: what is meant as a dry run must not be stored."""
    if not (isinstance(value, str) and value in {"true", "false"}):
        raise PydanticCustomError("not_a_boolean", "must be true or false, given once")
    return value == "true"


DryRunQuery = Annotated[
    bool,
    BeforeValidator(_parse_flag),
    Query(description="Check everything and tell what would be written now; write and remember nothing."),
]

tables = Tables(
    client=dynamodb.connect(max_connections=writer.WRITE_PARALLELISM),
    metering_table=settings.required("METERING_TABLE_NAME"),
    idempotency_table=settings.required("IDEMPOTENCY_TABLE_NAME"),
    idempotency_hours=settings.required_int("IDEMPOTENCY_HOURS"),
    transaction_id_days=settings.required_int("TRANSACTION_ID_DAYS"),
)
_subscribers_table = settings.optional("SUBSCRIBERS_TABLE_NAME")
rules = DeploymentRules(
    dimensions=known_dimensions.load(known_dimensions.FILE),
    identifier_kinds=settings.choices("CUSTOMER_IDENTIFIERS", IdentifierKind),
    subscribers=Subscribers(tables.client, _subscribers_table) if _subscribers_table else None,
)


def insert_resolver() -> MeteringResolver:
    """Create the resolver of an insert function."""
    return MeteringResolver(query_parameters={"dry_run"}, after_failure=SAFE_REPEAT)


def insert(  # noqa: PLR0913 - what an insert consists of
    app: MeteringResolver,
    entries: Sequence[Entry],
    *,
    at: str,
    idempotency_key: str | None,
    prefer: str | None,
    dry_run: bool,
) -> Response[str]:
    """Store the entries, and return the response to the current request of ``app``.

    ``at`` is the JSON pointer of an entry in the body, with ``{index}`` for its index. Without an idempotency
    key, the request id is the key, so that a caller can resume a partially completed request; a request whose
    entries all have ids needs none.

    Raises ProblemError if the request breaks a rule (400, 422), its key cannot be used (409, 422), or not all
    of it could be written in time (503).
    """
    app.refuse_unknown_parameters()
    has_ids = all(entry.transaction_id is not None for entry in entries)
    request = InsertRequest(
        entries=canonical_form(entries),
        key=idempotency_key or (None if has_ids else app.request_id),
        request_id=app.request_id,
        time_ms=app.current_event.request_context.request_time_epoch,
        remaining_ms=app.lambda_context.get_remaining_time_in_millis,
    )
    logger.append_keys(
        **({"idempotency_key": idempotency_key} if idempotency_key else {}),
        **({} if at else {"customer": entries[0].customerIdentifier}),
        **({"dry_run": True} if dry_run else {}),
        quantity=sum(sum(entry.quantities.values()) for entry in request.entries),
    )
    try:
        _check(entries, at, request, may_be_half_written=bool(idempotency_key))
        if dry_run:
            return Response(200, JSON_MEDIA_TYPE, json.dumps(writer.preview(tables, request)))
        written = writer.write(tables, request)
    except KeyReusedError as error:
        detail = f"This Idempotency-Key belongs to other entries; nothing was written now. {SEE_STORED}"
        raise ProblemError(422, ProblemType.IDEMPOTENCY_KEY_REUSED, detail) from error
    except KeyConflictError as error:
        detail = f"The request cannot be completed under this Idempotency-Key: {error}. {SEE_STORED}"
        raise ProblemError(409, ProblemType.IDEMPOTENCY_KEY_CONFLICT, detail) from error
    except writer.IncompleteWriteError as error:
        _report(error.written)
        metrics.add_metric("IncompleteRequests", MetricUnit.Count, 1)
        problem = _incomplete(error.written, len(entries), request.key)
        if idempotency_key or has_ids:
            # Clients obey this header by themselves, and repeat the request as it was sent.
            problem.headers = RETRY_AFTER
        raise problem from error
    _report(written)
    return _stored(written, prefer)


def _check(entries: Sequence[Entry], at: str, request: InsertRequest, *, may_be_half_written: bool) -> None:
    """Refuse what breaks a rule; what the deployment accepts by now does not stop a half-written request."""

    def is_resumed() -> bool:
        return may_be_half_written and writer.is_under_way(tables, request)

    def half_of_remaining_ms() -> int:
        # A table of subscribers that does not answer must leave time to resume.
        return request.remaining_ms() // 2

    broken = [*broken_rules(entries, at)]
    try:
        unaccepted = rules.broken(entries, at, request.time_ms, half_of_remaining_ms)
    except dynamodb.UnavailableError:
        if not broken and not is_resumed():
            raise
        unaccepted = []
    if broken or (unaccepted and not is_resumed()):
        raise refusal(broken + unaccepted)


def _stored(written: writer.Written, prefer: str | None) -> Response[str]:
    """Create the answer to a request of which everything is stored."""
    logger.append_keys(replayed=written.replayed)
    headers = {}
    answer = Inserted()
    if written.replayed:
        headers["Idempotent-Replayed"] = "true"
        metrics.add_metric("Replays", MetricUnit.Count, 1)
    if written.duplicates:
        answer["duplicates"] = written.duplicates
    # A list of preferences, which may have parameters (RFC 7240, section 2).
    preferences = [each.partition(";")[0] for each in (prefer or "").split(",")]
    if RETURN_REPRESENTATION in [each.replace(" ", "").replace('"', "").lower() for each in preferences]:
        headers["Preference-Applied"] = RETURN_REPRESENTATION
        answer["records"] = written.records
    return Response(200, JSON_MEDIA_TYPE, json.dumps(answer), headers=headers)


def _incomplete(written: writer.Written, sent: int, key: str | None) -> ProblemError:
    """Create the answer to a request for which the time was not enough."""
    members: dict[str, int | str] = {"inserted": written.entries}
    if written.resume_until is None:
        until = f"within {tables.idempotency_hours} hours of the first time that it was sent"
    else:
        resume_until = datetime.fromtimestamp(written.resume_until, UTC).isoformat().replace("+00:00", "Z")
        members["resume_until"] = resume_until
        until = f"until {resume_until}"
    how = "as it is"
    if key is not None:
        how = f"with the header Idempotency-Key: {key}"
        members["idempotency_key"] = key
    detail = (
        f"The metering table took {written.entries} of {sent} entries in time. Send the request again {how}, "
        f"{until}; stored usage is not written again."
    )
    return ProblemError(503, ProblemType.INCOMPLETE, detail, members=members)


def _report(written: writer.Written) -> None:
    """Add the outcome to the request's log line and to the metrics."""
    logger.append_keys(
        entries=written.entries,
        duplicates=len(written.duplicates),
        records=len(written.records),
        inserted=written.inserted,
        chunks=written.chunks,
        retries=written.retries,
        slots_moved=written.slots_moved,
        throttled_chunks=written.throttled_chunks,
    )
    metrics.add_metric("RecordsInserted", MetricUnit.Count, written.inserted)
    for name, count in (
        ("Duplicates", len(written.duplicates)),
        ("ThrottledChunks", written.throttled_chunks),
        ("SlotsMoved", written.slots_moved),
    ):
        if count:
            metrics.add_metric(name, MetricUnit.Count, count)
