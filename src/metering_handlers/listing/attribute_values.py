"""Conversion of DynamoDB attribute values of all types to JSON: records inserted by hand may have any."""

from __future__ import annotations

import base64
from decimal import Decimal
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


def as_number(text: str) -> int | float:
    """Convert a DynamoDB number: a whole one exactly, another to the nearest double."""
    try:
        return int(text)
    except ValueError:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else float(number)


def as_json(attribute: AttributeValueTypeDef | None) -> Json:
    """Convert an attribute of any type; bytes become base64 text, and a missing attribute None."""
    if not attribute:
        return None
    ((data_type, value),) = attribute.items()
    # The most frequent types first: most of a listing's time is spent in here and in botocore.
    if data_type in {"S", "BOOL"}:
        return cast("str | bool", value)
    if data_type == "N":
        return as_number(cast("str", value))
    convert = _CONVERSIONS.get(data_type)
    return convert(value) if convert else None


_CONVERSIONS: Mapping[str, Callable[[Any], Json]] = {
    "B": lambda value: base64.b64encode(value).decode(),
    "L": lambda elements: [as_json(element) for element in elements],
    "M": lambda fields: {name: as_json(member) for name, member in fields.items()},
    "SS": list,
    "NS": lambda values: [as_json({"N": value}) for value in values],
    "BS": lambda values: [as_json({"B": value}) for value in values],
}
"""For each DynamoDB type, the conversion of what botocore returns for it; NULL becomes None."""
