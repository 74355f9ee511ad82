"""The list endpoint's ``next_token``: an opaque position from which the next page starts."""

import base64
from decimal import Clamped, Context, InvalidOperation, Rounded
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from metering_handlers.contract.queries import GroupBy, SortOrder

# DynamoDB's numbers (Amazon DynamoDB Developer Guide, "Data types"), as boto3.dynamodb.types has them, which
# would import all of boto3 at each cold start. What overflows or underflows is rounded.
_NUMBERS = Context(prec=38, Emin=-128, Emax=126, traps=[Clamped, InvalidOperation, Rounded])


class InvalidNextTokenError(ValueError):
    """The token is not one of this API, or belongs to another list."""


class _Position(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    customer: str
    kind: str
    # Records inserted by hand may have decimals; NaN and Infinity are no numbers of DynamoDB's.
    after: Annotated[str, Field(pattern="^[-+.eE0-9]+$")]


def encode(customer_identifier: str, kind: SortOrder | GroupBy, after: str | None) -> str | None:
    """Create the token of the page after the record with that sort key; None if there is no such page.

    ``kind`` is the order of the records, or what totals are grouped by: a token continues only the same.
    """
    if after is None:
        return None
    position = _Position(customer=customer_identifier, kind=kind.value, after=after)
    return base64.urlsafe_b64encode(position.model_dump_json().encode()).decode().rstrip("=")


def decode(
    token: str, customer_identifier: str, kind: SortOrder | GroupBy, *, oldest: int | None, newest: int | None
) -> str:
    """Return the timestamp after which the page starts.

    Raises InvalidNextTokenError if the token is damaged, or was created for another customer, kind or range.
    """
    try:
        document = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        position = _Position.model_validate_json(document)
        after = _NUMBERS.create_decimal(position.after)
    except (ArithmeticError, ValueError) as error:
        raise InvalidNextTokenError("is not a next_token of this API") from error
    if position.customer != customer_identifier:
        raise InvalidNextTokenError("belongs to another customer")
    if position.kind != kind.value:
        raise InvalidNextTokenError("belongs to a list with another order or group_by")
    # DynamoDB refuses a start key outside the queried range.
    if (oldest is not None and after < oldest) or (newest is not None and after > newest):
        raise InvalidNextTokenError("lies outside from and to")
    return position.after
