"""The bodies of inserts, and the rules between the entries of one request."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)
from pydantic.dataclasses import dataclass
from pydantic_core import InitErrorDetails, PydanticCustomError

from metering_handlers.contract.answers import Violation
from metering_handlers.contract.identifiers import (
    CustomerIdentifier,
    DimensionName,
    OptionalTransactionId,
    Quantity,
)
from metering_handlers.contract.limits import MAX_DIMENSIONS, MAX_ENTRIES, MAX_QUANTITY


# A request has up to 250,000 of these: an instance takes 56 bytes, where one of BaseModel takes 480.
@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class MeteredDimension:
    """Usage of one dimension."""

    dimension_name: DimensionName
    dimension_value: Quantity


def _duplicates(dimensions: object) -> Iterator[InitErrorDetails]:
    """Yield the duplicate names: the hourly job adds up dimensions across records, not within a record."""
    first: dict[str, int] = {}
    for index, entry in enumerate(dimensions if isinstance(dimensions, list) else ()):
        name = entry.get("dimension_name") if isinstance(entry, dict) else None
        if isinstance(name, str) and first.setdefault(name, index) != index:
            context = {"first_index": first[name]}
            error = PydanticCustomError(
                "duplicate_dimension", "repeats the dimension_name of entry {first_index}", context
            )
            yield InitErrorDetails(type=error, loc=(index, "dimension_name"), input=name)


def _check_dimensions(value: object, validate: ValidatorFunctionWrapHandler) -> Sequence[MeteredDimension]:
    """Report duplicate dimensions together with all other errors of the list."""
    duplicates = [*_duplicates(value)]
    try:
        dimensions: Sequence[MeteredDimension] = validate(value)
    except ValidationError as error:
        if not duplicates:
            raise
        others = [
            InitErrorDetails(
                type=PydanticCustomError(line["type"], line["msg"], line.get("ctx")),
                loc=line["loc"],
                input=line["input"],
            )
            for line in error.errors(include_url=False)
        ]
        duplicates = others + duplicates
    if duplicates:
        raise ValidationError.from_exception_data("metered_dimensions", duplicates)
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
    transaction_id: OptionalTransactionId = None


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Entry:
    """One entry of a request: a customer's usage."""

    customerIdentifier: CustomerIdentifier  # noqa: N815 - the API's name for it
    metered_dimensions: MeteredDimensions
    transaction_id: OptionalTransactionId = None


class BulkUsage(BaseModel):
    """The body of ``POST /insertMeteringRecords``: many customers' usage."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    buyers: Annotated[
        list[Entry],
        Field(
            min_length=1,
            max_length=MAX_ENTRIES,
            # Powertools formats the arguments of each route for a debug message, at every log level.
            repr=False,
            description="The entries. Those of one customer are added up to one record.",
        ),
    ]


def violation(at: str, index: int, member: str, code: str, detail: str) -> Violation:
    """Create a violation by an entry of a valid request.

    ``at`` is the JSON pointer of an entry in the body, with ``{index}`` for its index. It is empty if the
    body is the entry, whose customer is in the path.
    """
    location = "body" if at or member != "customerIdentifier" else "path"
    return Violation(
        location=location, pointer=f"{at.format(index=index)}/{member}", code=code, detail=detail
    )


def broken_rules(entries: Sequence[Entry], at: str) -> Iterator[Violation]:
    """Yield each rule that entries of one request break together; ``at`` as in :func:`violation`.

    The hourly job adds a customer's usage up and sends it in one call, which AWS refuses as a whole if it has
    too many dimensions or a sum that is too large. Every entry sent counts, also one whose id is known.
    """
    first_with_id: dict[tuple[str, str], int] = {}
    sums: defaultdict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))
    for index, entry in enumerate(entries):
        customer = entry.customerIdentifier
        if entry.transaction_id is not None:
            first = first_with_id.setdefault((customer, entry.transaction_id), index)
            if first != index:
                detail = (
                    f"repeats {at.format(index=first)}/transaction_id of the same customer; send each usage "
                    "once, with an id of its own"
                )
                yield violation(at, index, "transaction_id", "duplicate_transaction_id", detail)
        customer_sums = sums[customer]
        dimensions_before = len(customer_sums)
        for position, used in enumerate(entry.metered_dimensions):
            sum_before = customer_sums[used.dimension_name]
            customer_sums[used.dimension_name] += used.dimension_value
            if sum_before <= MAX_QUANTITY < customer_sums[used.dimension_name]:
                member = f"metered_dimensions/{position}/dimension_value"
                detail = (
                    f"makes the customer's sum of this dimension more than {MAX_QUANTITY}, which AWS would "
                    "refuse; send the rest when the hourly job has billed this"
                )
                yield violation(at, index, member, "sum_too_large", detail)
        if dimensions_before <= MAX_DIMENSIONS < len(customer_sums):
            detail = (
                f"gives the customer more than {MAX_DIMENSIONS} dimensions, which AWS would refuse; send the "
                "others when the hourly job has billed these"
            )
            yield violation(at, index, "metered_dimensions", "too_many_dimensions", detail)
