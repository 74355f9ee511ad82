"""Problem types (RFC 9457): every kind of error that the API answers, API Gateway's own among them."""

from enum import StrEnum

PROBLEM_JSON = "application/problem+json"

SAFE_REPEAT = (
    "A part of an insert may be stored. If it had an Idempotency-Key, or if all of its entries have a "
    "transaction_id, repeat it as it was; otherwise repeat it with instance as its Idempotency-Key. Stored "
    "usage is not written again."
)
"""What a caller does after a 5xx that does not say what was written."""
SEE_STORED = (
    "GET /listMeteringRecords/{customerIdentifier} shows what is stored of each customer. Entries with a "
    "transaction_id may be sent again without an Idempotency-Key: known ones are skipped."
)
"""What a caller does whose idempotency key cannot be used."""


class ProblemType(StrEnum):
    """A problem type, by the last part of its URI."""

    MALFORMED_JSON = "malformed-json"
    MISSING_BODY = "missing-body"
    INVALID_PARAMETER = "invalid-parameter"
    BAD_REQUEST = "bad-request"
    FORBIDDEN = "forbidden"
    REQUEST_REFUSED = "request-refused"
    NOT_FOUND = "not-found"
    IDEMPOTENCY_KEY_CONFLICT = "idempotency-key-conflict"
    PAYLOAD_TOO_LARGE = "payload-too-large"
    UNSUPPORTED_MEDIA_TYPE = "unsupported-media-type"
    INVALID_REQUEST = "invalid-request"
    IDEMPOTENCY_KEY_REUSED = "idempotency-key-reused"
    TOO_MANY_REQUESTS = "too-many-requests"
    INTERNAL_ERROR = "internal-error"
    INCOMPLETE = "incomplete"
    UNAVAILABLE = "unavailable"
    GATEWAY_TIMEOUT = "gateway-timeout"

    @property
    def uri(self) -> str:
        """The member ``type`` of a problem document."""
        return f"urn:marketplace-metering:problem:{self}"

    @property
    def summary(self) -> str:
        """The member ``title`` of a problem document."""
        return self.replace("-", " ").capitalize()
