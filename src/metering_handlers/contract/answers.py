"""Answers: what callers get. Docstrings are the descriptions in the OpenAPI document."""

from dataclasses import dataclass
from typing import Annotated, Literal, NotRequired

from pydantic import ConfigDict, Field, WithJsonSchema, with_config
from typing_extensions import TypedDict

from metering_handlers.contract.limits import MAX_LISTED_VIOLATIONS
from metering_handlers.contract.queries import RecordStatus

# A plain string: pydantic serializes members of an enum ten times slower.
Status = Annotated[str, WithJsonSchema({"type": "string", "enum": [*RecordStatus]})]
# Records that were stored by hand may have any number.
Number = Annotated[float, WithJsonSchema({"type": "number", "format": "double"})]


@with_config(ConfigDict(use_attribute_docstrings=True))
class _Documented(TypedDict):
    """Has its members' docstrings as their descriptions."""


class RecordKey(_Documented):
    """Key of a stored record."""

    customerIdentifier: str
    create_timestamp: int
    """Time of the request that wrote it, in milliseconds since 1970-01-01T00:00:00Z; up to 10 s more where \
records of one customer would have had the same."""


class Duplicate(_Documented):
    """An entry that was skipped, because its `transaction_id` is known."""

    customerIdentifier: str
    transaction_id: str
    create_timestamp: int
    """Of the record that holds the known entry."""
    differs: bool
    """Whether the known entry has other usage. The first counts: nothing was changed."""


class Inserted(_Documented):
    """Everything is stored; empty unless there is something to tell."""

    records: NotRequired[list[RecordKey]]
    """With `Prefer: return=representation`: the records that hold the request's usage, by customer and \
time; not those of duplicates."""
    duplicates: NotRequired[list[Duplicate]]
    """Present if entries were skipped: one for each, by customer and id."""


class DryRun(_Documented):
    """What an insert would write now: no promise. Nothing was written or remembered."""

    dry_run: Annotated[Literal[True], WithJsonSchema({"type": "boolean"})]
    """Always true."""
    records: int
    """Number of new records."""
    duplicates: list[Duplicate]
    """The entries that would be skipped, by customer and id."""


class UsageOutcome(_Documented):
    """Usage of one dimension, and whether it was billed."""

    dimension: str | None
    """The dimension's API identifier; null for usage stored by hand whose dimension is not a string."""
    value: Number | None
    """The quantity: a whole number, unless stored otherwise by hand; null if it is not a number."""
    status: Status
    """`pending` until the hourly job has sent it; then `metered` if it was billed, or `failed`."""
    reason: NotRequired[str]
    """Only if `failed`: the status that BatchMeterUsage returned, an exception's code or name, \
`Unprocessed` if BatchMeterUsage did not process it, or `Unknown`."""


class MeteringRecord(_Documented):
    """A stored record. One that was stored by hand is listed as well as possible."""

    customerIdentifier: str
    create_timestamp: Number
    """Milliseconds since 1970-01-01T00:00:00Z. Records that were not inserted through this API may have \
another number."""
    dimension_usage: list[UsageOutcome]
    status: Status
    """`pending` until the hourly job has sent it; then `failed` if any of its dimensions is, else \
`metered`."""
    metering_response: object
    """Response of BatchMeterUsage or its exception, as JSON; null while the record is pending."""
    request_id: NotRequired[str]
    """Id of the request that inserted it; absent if it was not inserted through this API."""


class RecordPage(_Documented):
    """One page of a customer's records."""

    records: list[MeteringRecord]
    next_token: str | None
    """Token of the next page; null if this is the last one."""


@with_config(ConfigDict(use_attribute_docstrings=True, json_schema_serialization_defaults_required=True))
@dataclass(slots=True)
class Total:
    """Usage of one dimension with one status."""

    records: int = 0
    """Number of records in which the dimension has that status."""
    quantity: int = 0
    """Sum of their quantities, exact also beyond 2^53. A value stored by hand that is not a whole number \
counts as 0: BatchMeterUsage takes whole numbers only."""


class DimensionTotals(_Documented):
    """Totals of one dimension."""

    dimension: str | None
    """The dimension's API identifier; null for usage stored by hand whose dimension is not a string."""
    pending: Total
    """Waits for the hourly job."""
    metered: Total
    """Was billed."""
    failed: Total
    """Was not billed."""


class TotalsPage(_Documented):
    """Totals of a customer's records."""

    totals: list[DimensionTotals]
    """Sorted by dimension."""
    record_count: int
    """Number of records added up."""
    next_token: str | None
    """Token of the totals of the remaining records, to be added to these; null if there are none."""


class Violation(_Documented):
    """A broken rule."""

    location: Annotated[str, WithJsonSchema({"type": "string", "enum": ["body", "path", "query", "header"]})]
    """The part of the request."""
    pointer: str
    """Position in that part: a JSON pointer (RFC 6901)."""
    code: str
    """The rule, for programs."""
    detail: str
    """What to change, for people."""


class Refusal(_Documented):
    """A problem (RFC 9457) whose HTTP status is not in the document: API Gateway chose it."""

    type: str
    """The problem type, for programs."""
    title: str
    """The problem type, for people."""
    detail: str
    """What was wrong, and what to do."""
    instance: str
    """The request id; quote it to the operator."""


class Problem(Refusal):
    """Any other answer but success (RFC 9457)."""

    status: int
    """The HTTP status."""


class InvalidRequest(Problem):
    """A request that breaks rules."""

    errors: Annotated[list[Violation], Field(min_length=1, max_length=MAX_LISTED_VIOLATIONS)]
    """The broken rules, up to the maximum number listed."""


class Incomplete(Problem):
    """An insert of which only a part is stored."""

    inserted: int
    """Entries that are known to be stored, new and known ones: there may be more."""
    idempotency_key: NotRequired[str]
    """The `Idempotency-Key` with which to complete the request. Absent if it is to be sent again as it was, \
because it had none and all of its entries have a `transaction_id`."""
    resume_until: NotRequired[Annotated[str, WithJsonSchema({"type": "string", "format": "date-time"})]]
    """Time until which the request may be completed. Absent if its `Idempotency-Key` may have been used \
before and it is not known when: it is remembered from then."""
