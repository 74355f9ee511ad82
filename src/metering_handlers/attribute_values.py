"""Conversion of DynamoDB attribute values of all types to JSON: records inserted by hand may have any."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


def as_number(text: str) -> int | float:
    """Convert a DynamoDB number: a whole one exactly, another to the nearest double."""
    try:
        return int(text)
    except ValueError:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else float(number)


def as_json(attribute: AttributeValueTypeDef | None) -> Json:  # noqa: PLR0911 - one for each DynamoDB type
    """Convert an attribute of any type; bytes become base64 text, and a missing attribute None."""
    match attribute:
        case {"S": value} | {"BOOL": value}:
            return cast("str | bool", value)
        case {"N": value}:
            return as_number(cast("str", value))
        case {"B": value}:
            return base64.b64encode(cast("bytes", value)).decode()
        case {"L": elements}:
            return [as_json(element) for element in cast("Sequence[AttributeValueTypeDef]", elements)]
        case {"M": members}:
            fields = cast("Mapping[str, AttributeValueTypeDef]", members)
            return {name: as_json(member) for name, member in fields.items()}
        case {"SS": values}:
            return list(cast("Sequence[str]", values))
        case {"NS": values}:
            return [as_number(value) for value in cast("Sequence[str]", values)]
        case {"BS": values}:
            return [base64.b64encode(value).decode() for value in cast("Sequence[bytes]", values)]
        case _:
            return None
