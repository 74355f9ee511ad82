"""Usage that was not billed: the meaning of each reason, and which usage can be sent again."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from pydantic import ValidationError

from metering_cli.importing.usage_file import HEADER, UsageLine
from metering_handlers.listing.outcomes import UNKNOWN, UNPROCESSED

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from decimal import Decimal
    from typing import TextIO


# UsageRecordResult, BatchMeterUsage's errors, and BatchMeterUsageResult in the AWS Marketplace Metering
# Service API Reference.
REFUSED = {
    "CustomerNotSubscribed": "The customer has no active agreement for this product, or the identifier is"
    " wrong. Sent again, it fails again until the customer subscribes.",
    UNPROCESSED: "AWS took the call, but not this usage. Send it again.",
    "InvalidUsageDimensionException": "A dimension in the customer's call is none of the product's, so"
    " that all of the call was refused. Correct the dimension, then send the usage again.",
    "InvalidCustomerIdentifierException": "AWS Marketplace has no such customer. Correct the identifier.",
    "InvalidLicenseException": "The license is not the customer's, or was not active then. Correct it.",
    "InvalidProductCodeException": "The quickstart is set up with another product's code. Correct that.",
    "InvalidTagException": "A tag of a usage allocation is wrong. Correct the hourly job.",
    "InvalidUsageAllocationsException": "The usage allocations are wrong. Correct the hourly job.",
    "TimestampOutOfBoundsException": "It was reported too late. Sent again, it is reported as of now.",
    "ThrottlingException": "AWS was asked too often. Send it again.",
    "DisabledApiException": "The metering API is not available in the quickstart's region.",
    "AccessDeniedException": "The hourly job's role may not call BatchMeterUsage. Repair the role.",
    "ExpiredTokenException": "The hourly job's credentials had expired. Send it again.",
    "UnrecognizedClientException": "The hourly job's credentials are wrong. Repair them.",
}
"""Reasons after which the usage was certainly not billed, and what to do."""

DOUBTFUL = {
    "DuplicateRecord": "AWS has billed another quantity of this dimension for the same hour, and that may"
    " include this record. Check what AWS billed before you send it again.",
    UNKNOWN: "Nothing in the record says that AWS billed it, or why not. Check what AWS billed before you"
    " send it again.",
}
_ANY_OTHER = (
    "The connection or AWS failed on the way, and AWS may have billed it. Check what AWS billed before you"
    " send it again."
)


def is_doubtful(reason: str) -> bool:
    """Return whether AWS may have billed the usage although it failed for this reason."""
    return reason not in REFUSED


def advice(reason: str) -> str:
    """Return what a reason means, and what to do."""
    return REFUSED.get(reason) or DOUBTFUL.get(reason, _ANY_OTHER)


class FailedUsage(NamedTuple):
    """One dimension of one record that was not billed; sorts in the order of sending.

    Attributes
    ----------
    customer : str
        The customer identifier.
    create_timestamp : Decimal
        The record's sort key, as stored.
    position : int
        Index of the dimension in the record.
    dimension : str or None
        The dimension; None if it is not a string.
    value : object
        The quantity as stored, of any type.
    reason : str
        Why it was not billed.
    """

    customer: str
    create_timestamp: Decimal
    position: int
    dimension: str | None
    value: object
    reason: str


@dataclass(frozen=True)
class Resend:
    """Usage to send again, and usage that is not sent again.

    Attributes
    ----------
    lines : list of FailedUsage
        Usage to send again.
    doubtful : list of FailedUsage
        Usage left out because AWS may have billed it.
    unsendable : list of tuple of FailedUsage and str
        Usage that the importer would refuse, and why.
    """

    lines: list[FailedUsage]
    doubtful: list[FailedUsage]
    unsendable: list[tuple[FailedUsage, str]]


def to_resend(failed: Iterable[FailedUsage], reasons: Collection[str]) -> Resend:
    """Select what can be sent again without billing anything twice.

    Parameters
    ----------
    failed : iterable of FailedUsage
        All that was not billed.
    reasons : collection of str
        Doubtful reasons whose usage the seller knows not to have been billed, to select only that: what was
        selected without them may have been sent before. If empty, everything that was certainly not billed.

    Returns
    -------
    Resend
        Sorted: the same failures always result in the same file, so that importer and API recognize a repeat.
    """
    resend = Resend([], [], [])
    for usage in sorted(failed, key=lambda one: one[:3]):
        if reasons and usage.reason not in reasons:
            continue
        if not reasons and is_doubtful(usage.reason):
            resend.doubtful.append(usage)
        elif (refusal := _refusal(usage)) is not None:
            resend.unsendable.append((usage, refusal))
        else:
            resend.lines.append(usage)
    return resend


def _refusal(usage: FailedUsage) -> str | None:
    """Return why the importer would refuse or change the line; None if it would not."""
    cells = dict(zip(HEADER, (usage.customer, usage.dimension, usage.value), strict=True))
    try:
        UsageLine.model_validate(cells)
    except ValidationError as error:
        return "; ".join(f"{line['loc'][0]} {line['msg']}" for line in error.errors())
    for name in (usage.customer, str(usage.dimension)):
        if name != name.strip():
            return f"{name!r} begins or ends with white space, which the importer drops"
    return None


def write_usage_file(usage: Iterable[FailedUsage], file: TextIO) -> None:
    """Write usage as ``metering import`` reads it.

    Parameters
    ----------
    usage : iterable of FailedUsage
        Usage to write, one line each.
    file : TextIO
        Output file, opened with ``newline=""``.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows((one.customer, one.dimension, one.value) for one in usage)
