"""The list endpoint's ``next_token``: an opaque position from which the next page starts."""

import base64
from decimal import Clamped, Context, Decimal, Inexact, Overflow, Rounded, Underflow
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from metering_handlers.contract.queries import GroupBy, SortOrder

# DynamoDB's numbers (Amazon DynamoDB Developer Guide, "Data types"), as boto3.dynamodb.types has them, which
# would import all of boto3 at each cold start.
_NUMBERS = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, Overflow, Inexact, Rounded, Underflow])


class InvalidNextTokenError(ValueError):
    """The token is not one of this API, or belongs to another list."""


def _check_number(text: str) -> str:
    """Refuse text that DynamoDB would not accept as a number; records inserted by hand may have decimals."""
    try:
        number = _NUMBERS.create_decimal(text)
    except ArithmeticError as error:
        raise ValueError("is no DynamoDB number") from error
    if not number.is_finite():
        raise ValueError("is no DynamoDB number")
    return text


class _Position(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    customer: str
    kind: str
    after: Annotated[str, AfterValidator(_check_number)]


def encode(customer_identifier: str, kind: SortOrder | GroupBy, after: str | None) -> str | None:
    """Create the token of the page after the record with that sort key; None if there is no such page.

    ``kind`` is the order of the records, or what totals are grouped by: a token continues only the same.
    """
    if after is None:
        return None
    position = _Position(customer=customer_identifier, kind=kind.value, after=after)
    return base64.urlsafe_b64encode(position.model_dump_json().encode()).decode().rstrip("=")


def decode(
    token: str,
    customer_identifier: str,
    kind: SortOrder | GroupBy,
    *,
    oldest: int | None,
    newest: int | None,
) -> str:
    """Return the timestamp after which the page starts.

    Raises
    ------
    InvalidNextTokenError
        If the token is damaged, or was created for another customer, kind or range.
    """
    try:
        document = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = _Position.model_validate_json(document)
    except (ValueError, ValidationError) as error:
        raise InvalidNextTokenError("is not a next_token of this API") from error
    if position.customer != customer_identifier:
        raise InvalidNextTokenError("belongs to another customer")
    if position.kind != kind.value:
        raise InvalidNextTokenError("belongs to a list with another order or group_by")
    after = Decimal(position.after)
    # DynamoDB refuses a start key outside the queried range.
    if (oldest is not None and after < oldest) or (newest is not None and after > newest):
        raise InvalidNextTokenError("lies outside from and to")
    return position.after
