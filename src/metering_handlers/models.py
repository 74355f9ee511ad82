"""Request models and the limits they enforce."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated
from urllib.parse import unquote

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WithJsonSchema,
    WrapValidator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import InitErrorDetails, PydanticCustomError

from metering_handlers import known_dimensions

MAX_BUYERS = 10_000
"""Entries in one bulk request: with one dimension each, they stay below Lambda's limit of 6 MB."""
MAX_DIMENSIONS = 25
"""Dimensions in one record: the hourly job sends them all in one BatchMeterUsage call, which takes 25."""
MAX_DIMENSION_NAME_LENGTH = 255
"""Characters; UsageRecord.Dimension in the AWS Marketplace Metering API reference."""
MAX_QUANTITY = 2_147_483_647
"""UsageRecord.Quantity in the AWS Marketplace Metering API reference."""
MAX_CUSTOMER_IDENTIFIER_LENGTH = 128
"""Characters; the hourly job uses the identifier as an SQS MessageGroupId, which takes 128."""
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_TIMESTAMP = 2**53 - 1
"""Milliseconds; the hourly job reads timestamps as JavaScript numbers, which are exact up to here."""
MAX_PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 100
MAX_NEXT_TOKEN_LENGTH = 1_024
_PRINTABLE_ASCII = re.compile("[!-~]*")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _check_customer_identifier(value: str) -> str:
    """Refuse identifiers that the hourly job could not forward: their usage would never be billed."""
    if "%" in value:
        raise PydanticCustomError(
            "percent_sign",
            "must not contain a percent sign; in a path, percent-encode each reserved character exactly once",
        )
    if not _PRINTABLE_ASCII.fullmatch(value):
        raise PydanticCustomError(
            "not_printable_ascii", "must consist of printable ASCII characters without white space"
        )
    if value.startswith("/") or value.endswith("/") or "//" in value:
        # No buyer has such an identifier: a URL has a slash too many, and the usage could not be billed.
        raise PydanticCustomError(
            "misplaced_slash", "must not begin or end with a slash, or hold two slashes in a row"
        )
    return value


CustomerIdentifier = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=MAX_CUSTOMER_IDENTIFIER_LENGTH,
        description="The buyer: a customer identifier, a 12-digit AWS account id, or a License ARN.",
        examples=[
            "ExWoL3vTir2",
            "123456789012",
            "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
        ],
        json_schema_extra={"pattern": "^[!-$&-.0-~]+(/[!-$&-.0-~]+)*$"},
    ),
    AfterValidator(_check_customer_identifier),
]

PathCustomerIdentifier = Annotated[CustomerIdentifier, BeforeValidator(unquote)]
"""The same identifier in a path, plain or percent-encoded: all spellings mean the same customer."""


# API Gateway replaces what is not UTF-8 by U+FFFD; usage of such a dimension could never be billed.
DimensionName = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=MAX_DIMENSION_NAME_LENGTH,
        pattern="^[^\ufffd]*$",
        description="The dimension's API identifier, as the product page in AWS Marketplace shows it. "
        "Where the deployment names the product's dimensions, others are refused (`unknown_dimension`).",
        examples=["metered_1_id"],
    ),
]

Quantity = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=MAX_QUANTITY,
        description="The quantity used, in the dimension's unit.",
        examples=[10],
    ),
]


# A request has up to 250,000 of these: an instance takes 56 bytes, where one of BaseModel takes 480.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class MeteredDimension:
    """Usage of one dimension."""

    dimension_name: DimensionName
    dimension_value: Quantity


def _duplicate_dimensions(value: object) -> list[InitErrorDetails]:
    """Find duplicate names: the hourly job adds up dimensions across records, not within a record."""
    if not isinstance(value, list):
        return []
    first_index: dict[str, int] = {}
    duplicates: list[InitErrorDetails] = []
    for index, entry in enumerate(value):
        name = entry.get("dimension_name") if isinstance(entry, dict) else None
        if not isinstance(name, str):
            continue
        if name in first_index:
            error = PydanticCustomError(
                "duplicate_dimension",
                "repeats the dimension_name of entry {first_index}",
                {"first_index": first_index[name]},
            )
            duplicates.append(InitErrorDetails(type=error, loc=(index, "dimension_name"), input=name))
        else:
            first_index[name] = index
    return duplicates


def _unknown_dimensions(value: object, known: frozenset[str]) -> list[InitErrorDetails]:
    """Find unknown names: a single one makes AWS refuse all of the customer's usage of the hour."""
    unknown: list[InitErrorDetails] = []
    for index, entry in enumerate(value if isinstance(value, list) else ()):
        name = entry.get("dimension_name") if isinstance(entry, dict) else None
        # A name that is too long gets only that error.
        if isinstance(name, str) and len(name) <= MAX_DIMENSION_NAME_LENGTH and name not in known:
            error = PydanticCustomError(
                "unknown_dimension", "is not a dimension of the product", {"name": name}
            )
            unknown.append(InitErrorDetails(type=error, loc=(index, "dimension_name"), input=name))
    return unknown


def _line_errors(error: ValidationError) -> list[InitErrorDetails]:
    """Convert the lines of a validation error to the form from which another error can be created."""
    return [
        InitErrorDetails(
            type=PydanticCustomError(
                line["type"],
                line["msg"],
                line.get("ctx"),
            ),
            loc=line["loc"],
            input=line["input"],
        )
        for line in error.errors(include_url=False)
    ]


def _check_dimensions(value: object, validate: ValidatorFunctionWrapHandler) -> Sequence[MeteredDimension]:
    """Report duplicate and unknown dimensions together with all other errors of the list."""
    broken = _duplicate_dimensions(value)
    if known_dimensions.KNOWN_DIMENSIONS is not None:
        broken += _unknown_dimensions(value, known_dimensions.KNOWN_DIMENSIONS)
    try:
        dimensions: Sequence[MeteredDimension] = validate(value)
    except ValidationError as error:
        if not broken:
            raise
        raise ValidationError.from_exception_data(
            "metered_dimensions", _line_errors(error) + broken
        ) from None
    if broken:
        raise ValidationError.from_exception_data("metered_dimensions", broken)
    return dimensions


MeteredDimensions = Annotated[
    list[MeteredDimension],
    Field(
        strict=True,
        min_length=1,
        max_length=MAX_DIMENSIONS,
        repr=False,
        description="What was used; each `dimension_name` once.",
    ),
    WrapValidator(_check_dimensions),
]


class Usage(BaseModel):
    """The body of ``POST /insertMeteringRecord/{customerIdentifier}``: one customer's usage."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    metered_dimensions: MeteredDimensions


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class BuyerUsage:
    """One entry of a bulk request: becomes one record."""

    customerIdentifier: CustomerIdentifier  # noqa: N815 - the API's name for it
    metered_dimensions: MeteredDimensions


class BulkUsage(BaseModel):
    """The body of ``POST /insertMeteringRecords``: many customers' usage."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    buyers: Annotated[
        list[BuyerUsage],
        Field(
            min_length=1,
            max_length=MAX_BUYERS,
            # Powertools formats the arguments of each route for a debug message, at every log level.
            repr=False,
            description="The entries; each becomes one record.",
        ),
    ]


class RecordStatus(StrEnum):
    """Whether a record was billed."""

    PENDING = "pending"
    METERED = "metered"
    FAILED = "failed"


class GroupBy(StrEnum):
    """What totals are grouped by."""

    DIMENSION = "dimension"


NOT_WITH_GROUP_BY = ("status", "order", "limit")
"""Query parameters that choose or sort records: totals are of all records in the range."""


class SortOrder(StrEnum):
    """Order by ``create_timestamp``."""

    ASCENDING = "asc"
    DESCENDING = "desc"


def _parse_instant(value: object) -> int:
    """Parse epoch milliseconds, or an ISO 8601 date or time (UTC unless it has an offset)."""
    if isinstance(value, str):
        if value.isascii() and value.isdigit() and len(value) <= len(str(MAX_TIMESTAMP)):
            return int(value)
        try:
            instant = datetime.fromisoformat(value)
        except ValueError:
            pass
        else:
            if instant.tzinfo is None:
                instant = instant.replace(tzinfo=UTC)
            # Integer arithmetic: a float of seconds would sometimes lose a millisecond.
            return (instant - EPOCH) // timedelta(milliseconds=1)
    raise PydanticCustomError(
        "invalid_instant",
        "must be epoch milliseconds or an ISO 8601 time such as 2026-11-23T10:00:00Z; encode a plus sign",
    )


Instant = Annotated[
    int,
    Field(ge=0, le=MAX_TIMESTAMP),
    BeforeValidator(_parse_instant),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "integer", "minimum": 0, "maximum": MAX_TIMESTAMP, "description": "Milliseconds."},
                {"type": "string", "format": "date-time", "description": "Not before 1970."},
            ],
            "examples": [1795446956551, "2026-11-23T10:00:00Z"],
        }
    ),
]
"""A point in time, in ms since 1970-01-01T00:00:00Z."""
