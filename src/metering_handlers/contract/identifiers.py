"""Names and numbers in requests: how a customer, a dimension, a quantity and a transaction id are written."""

import re
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated
from urllib.parse import unquote

from pydantic import AfterValidator, BeforeValidator, Field
from pydantic_core import PydanticCustomError, PydanticKnownError

from metering_handlers.contract import limits

# What spreadsheets, databases and people make of an AWS account id, which has 12 digits: other digits, marks,
# scientific notation. Identifiers of the other kinds with a digit have a letter, too. Each alternative can
# match in one way only: 10,000 identifiers have to be checked in time, however they are written.
_MISWRITTEN_ACCOUNT_ID = (
    r"""^([0-9]{1,11}|[0-9]{13,}|[.,'"=-]+"""
    "|[0-9]+[^0-9A-Za-z][^A-Za-z]*|[^0-9A-Za-z]+[0-9][^A-Za-z]*"
    "|[^A-Za-z]*[0-9][.,]?[eE][+-]?[0-9]+[^0-9A-Za-z]*)$"
)
_DOT_SEGMENT = r"(^|/)\.{1,2}(/|$)"
# Members of JavaScript's Object.prototype (ECMA-262, section 20.1.3, and annex B). The hourly job keeps
# customers and dimensions in plain objects: a customer of such a name stops billing for everybody, and a
# dimension of such a name is never billed.
_PROTOTYPE_NAMES = (
    *("__defineGetter__", "__defineSetter__", "__lookupGetter__", "__lookupSetter__", "__proto__"),
    *("constructor", "hasOwnProperty", "isPrototypeOf", "propertyIsEnumerable", "toLocaleString"),
    *("toString", "valueOf"),
)
_PROTOTYPE_NAME = f"^({'|'.join(_PROTOTYPE_NAMES)})$"
_RESERVED_NAME = (_PROTOTYPE_NAME, "is a reserved name, which the hourly job cannot bill; use another")


class IdentifierKind(StrEnum):
    """What a customer identifier is: AWS Marketplace has had three in turn."""

    LEGACY = "legacy"
    ACCOUNT_ID = "account_id"
    LICENSE_ARN = "license_arn"


def identifier_kind(identifier: str) -> IdentifierKind:
    """Return the kind of a valid customer identifier."""
    if re.search("^[0-9]{12}$", identifier):
        return IdentifierKind.ACCOUNT_ID
    is_license = re.search("^arn:[^:]+:license-manager:", identifier)
    return IdentifierKind.LICENSE_ARN if is_license else IdentifierKind.LEGACY


def _refused(rules: Mapping[str, tuple[str, str]]) -> AfterValidator:
    """Refuse a text in which a pattern is found; ``rules``: pattern and message by code, in their order."""
    compiled = [(re.compile(pattern), code, message) for code, (pattern, message) in rules.items()]

    def check(value: str) -> str:
        for pattern, code, message in compiled:
            if pattern.search(value):
                raise PydanticCustomError(code, message)
        return value

    return AfterValidator(check)


# The hourly job could not forward such an identifier: its usage would never be billed.
_REFUSED_CUSTOMERS = {
    "percent_sign": (
        "%",
        "must not contain a percent sign; in a path, percent-encode each reserved character exactly once",
    ),
    "not_printable_ascii": ("[^!-~]", "must consist of printable ASCII characters without white space"),
    # No buyer has such an identifier: a URL has a slash too many.
    "misplaced_slash": ("^/|/$|//", "must not begin or end with a slash, or hold two slashes in a row"),
    "dot_segment": (_DOT_SEGMENT, "must not have . or .. between slashes"),
    "not_an_account_id": (
        _MISWRITTEN_ACCOUNT_ID,
        "must be exactly 12 digits if it is an AWS account id; a spreadsheet may have changed it: format the "
        "column as text and enter it again",
    ),
    "reserved_name": _RESERVED_NAME,
}
CustomerIdentifier = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=limits.MAX_CUSTOMER_IDENTIFIER_LENGTH,
        description="The buyer: a customer identifier, a 12-digit AWS account id, or a License ARN.",
        examples=[
            "ExWoL3vTir2",
            "123456789012",
            "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
        ],
        json_schema_extra={
            "pattern": "^[!-$&-.0-~]+(/[!-$&-.0-~]+)*$",
            # One pattern, since generators of clients make types of compositions.
            "not": {"pattern": "|".join([_PROTOTYPE_NAME, _DOT_SEGMENT, _MISWRITTEN_ACCOUNT_ID])},
        },
    ),
    _refused(_REFUSED_CUSTOMERS),
]
PathCustomerIdentifier = Annotated[CustomerIdentifier, BeforeValidator(unquote)]
"""The same identifier in a path, plain or percent-encoded: all spellings mean the same customer."""

# No dimension has such a name, so its usage could never be billed. API Gateway replaces what is not UTF-8 by
# U+FFFD.
_NO_NAME = r"\u0000-\u001f\u007f-\u009f\ufffd"
_NO_END = rf"{_NO_NAME}\s\ufeff"
_REFUSED_DIMENSIONS = {
    "not_unicode": ("\ufffd", "must be valid Unicode text; send the body in UTF-8"),
    "not_plain_text": (
        f"[{_NO_NAME}]|^[{_NO_END}]|[{_NO_END}]$",
        "must be Unicode text without control characters, and without white space at its ends",
    ),
    "reserved_name": _RESERVED_NAME,
}
DimensionName = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=limits.MAX_DIMENSION_NAME_LENGTH,
        json_schema_extra={
            "pattern": rf"^[^{_NO_END}]([^{_NO_NAME}]*[^{_NO_END}])?$",
            "not": {"enum": [*_PROTOTYPE_NAMES]},
        },
        description="The dimension's API identifier, as the product page in AWS Marketplace shows it. "
        "Where the deployment names the product's dimensions, others are refused (`unknown_dimension`).",
        examples=["metered_1_id"],
    ),
    _refused(_REFUSED_DIMENSIONS),
]

Quantity = Annotated[
    int,
    Field(
        strict=True,
        ge=0,
        le=limits.MAX_QUANTITY,
        description="The quantity used, in the dimension's unit.",
        examples=[10],
    ),
]
_PRINTABLE_ASCII = _refused({"not_printable_ascii": ("[^ -~]", "must consist of printable ASCII characters")})


def _refuse_null(value: object) -> object:
    """Refuse null: a client that lost the id must not have its usage stored without one."""
    if value is None:
        raise PydanticKnownError("string_type")
    return value


TransactionId = Annotated[
    str,
    Field(
        strict=True,
        min_length=1,
        max_length=limits.MAX_TRANSACTION_ID_LENGTH,
        description="Your own id of this usage. For one customer, usage with the same id is stored once, in "
        "whatever request, order or company it comes again.",
        examples=["2026-11-23T10:metered_1_id"],
        json_schema_extra={"pattern": "^[ -~]+$"},
    ),
    _PRINTABLE_ASCII,
]
OptionalTransactionId = Annotated[TransactionId | None, BeforeValidator(_refuse_null)]

IdempotencyKey = Annotated[
    str,
    Field(
        min_length=1, max_length=limits.MAX_IDEMPOTENCY_KEY_LENGTH, json_schema_extra={"pattern": "^[ -~]+$"}
    ),
    _PRINTABLE_ASCII,
]
