"""The reasons for which usage is not billed: whether AWS may have billed it all the same, and what to do."""

from enum import StrEnum
from typing import NamedTuple

from metering_handlers.listing.outcomes import UNKNOWN, UNPROCESSED

_REFERENCE = "https://docs.aws.amazon.com/marketplacemetering/latest/APIReference/"
_CALL = f"{_REFERENCE}API_BatchMeterUsage.html"
_RESULT = f"{_REFERENCE}API_UsageRecordResult.html"
_COMMON = f"{_REFERENCE}CommonErrors.html"
_SIGNING = "https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-troubleshooting.html"
_SDK = "https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html"
_RETRIES = "https://docs.aws.amazon.com/sdkref/latest/guide/feature-retry-behavior.html"


class Remedy(StrEnum):
    """What has to happen before usage is sent again."""

    SEND = "send again"
    """AWS certainly did not bill it."""
    CORRECT = "correct first"
    """AWS certainly did not bill it, and would refuse it again, perhaps with the customer's other usage."""
    CHECK = "check first"
    """AWS may have billed it."""


class Reason(NamedTuple):
    """What a reason means; ``source`` is the address of the page that says so."""

    remedy: Remedy
    meaning: str
    to_do: str
    source: str


def _refused(why: str, to_do: str, source: str, remedy: Remedy = Remedy.CORRECT) -> Reason:
    return Reason(remedy, f"AWS refused the whole call: {why}.", to_do, source)


_AGAIN = "Send it again."
_REPAIR = "Correct the quickstart's settings, then send the usage again."
_REPAIR_ROLE = "Repair the hourly job's role, then send the usage again."
_OTHER = "Set the quantity to 0, and send the usage of the right {} in a line of its own."
_CREDENTIALS = _refused("the hourly job's credentials are not valid", _REPAIR_ROLE, _COMMON)
_SIGNATURE = _CREDENTIALS._replace(source=_SIGNING)
_NO_CREDENTIALS = Reason(
    Remedy.CORRECT, "The hourly job had no credentials; nothing was sent to AWS.", _REPAIR_ROLE, _SDK
)
_INVALID = _refused(
    "the customer had more than 25 dimensions, a sum above 2,147,483,647, or a wrong value",
    "Correct what is wrong; send what is too much in parts, each after the hourly job has billed the last.",
    _COMMON,
)
_LOOK = "Check what AWS billed before you send it again."
_LOST = Reason(
    Remedy.CHECK, "The connection or AWS failed on the way; AWS may have billed the usage.", _LOOK, _RETRIES
)

UNKNOWN_DIMENSION = "InvalidUsageDimensionException"
"""AWS refuses the whole call; where the product's dimensions are known, so is the usage that caused it."""

REASONS = {
    "CustomerNotSubscribed": Reason(
        Remedy.SEND,
        "The customer has no active agreement for this product, or the identifier is wrong.",
        "Send it again once the customer has subscribed; until then it fails again.",
        _RESULT,
    ),
    UNPROCESSED: Reason(Remedy.SEND, "AWS took the call, but not this usage.", _AGAIN, _CALL),
    "ThrottlingException": Reason(Remedy.SEND, "AWS had too many calls.", _AGAIN, _CALL),
    "TimestampOutOfBoundsException": _refused("it was too late", _AGAIN, _CALL, Remedy.SEND),
    "RequestExpired": _refused("it was too late", _AGAIN, _COMMON, Remedy.SEND),
    "ExpiredTokenException": _refused("the credentials had expired", _AGAIN, _COMMON, Remedy.SEND),
    UNKNOWN_DIMENSION: _refused(
        "the product has no such dimension",
        "Correct the dimension that is not the product's; list the product's in params.dimensions.",
        _CALL,
    ),
    "InvalidCustomerIdentifierException": _refused(
        "AWS Marketplace has no such customer", _OTHER.format("customer"), _CALL
    ),
    "InvalidLicenseException": _refused(
        "the license is not the customer's, or was not active then", _OTHER.format("license"), _CALL
    ),
    "InvalidProductCodeException": _refused("the quickstart has another product's code", _REPAIR, _CALL),
    "InvalidTagException": _refused("a tag is wrong", _REPAIR, _CALL),
    "InvalidUsageAllocationsException": _refused("the usage allocations are wrong", _REPAIR, _CALL),
    "DisabledApiException": _refused("the quickstart's region does not take usage", _REPAIR, _CALL),
    "AccessDeniedException": _refused("the hourly job may not call BatchMeterUsage", _REPAIR_ROLE, _COMMON),
    **dict.fromkeys(("ValidationException", "ValidationError"), _INVALID),
    **dict.fromkeys(
        ("InvalidClientTokenId", "UnrecognizedClientException", "NotAuthorized", "OptInRequired"),
        _CREDENTIALS,
    ),
    **dict.fromkeys(("InvalidSignatureException", "SignatureDoesNotMatch"), _SIGNATURE),
    **dict.fromkeys(("IncompleteSignature", "IncompleteSignatureException"), _SIGNATURE),
    **dict.fromkeys(("MissingAuthenticationToken", "MissingAuthenticationTokenException"), _SIGNATURE),
    **dict.fromkeys(("CredentialsProviderError", "CredentialsError"), _NO_CREDENTIALS),
    "DuplicateRecord": Reason(
        Remedy.CHECK,
        "AWS had billed another quantity of this dimension for the same hour, which may include this usage.",
        _LOOK,
        _RESULT,
    ),
    UNKNOWN: Reason(
        Remedy.CHECK, "Nothing in the record says that AWS billed it, or why not.", _LOOK, _RESULT
    ),
    **dict.fromkeys(("InternalServiceErrorException", "InternalFailure"), _LOST),
    **dict.fromkeys(("ServiceUnavailable", "ServiceUnavailableException"), _LOST),
    **dict.fromkeys(("TimeoutError", "NetworkingError", "ECONNRESET"), _LOST),
}
"""AWS's reasons; any other one is in doubt too."""


def reason_of(name: str) -> Reason:
    """Return what a reason means; AWS may have billed what failed for a reason that is not in the table."""
    return REASONS.get(name, _LOST)
