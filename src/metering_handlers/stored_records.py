"""Stored records as the list endpoint shows them, the odd ones that people put there by hand included."""

from __future__ import annotations

import base64
import json
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from metering_handlers import metering_table as table
from metering_handlers.models import RecordStatus

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

    from metering_handlers.metering_table import Item

    Json = str | int | float | bool | None | list["Json"] | dict[str, "Json"]


def shown(item: Item) -> dict[str, Json]:
    """Render one item of the metering table.

    Parameters
    ----------
    item : Item
        The item as DynamoDB holds it; any attribute but the key may be missing or of another type.

    Returns
    -------
    dict[str, Json]
        The record; ``request_id`` only where one is stored.
    """
    record: dict[str, Json] = {
        table.CUSTOMER_IDENTIFIER: item[table.CUSTOMER_IDENTIFIER]["S"],
        table.CREATE_TIMESTAMP: _number(item[table.CREATE_TIMESTAMP]["N"]),
        table.DIMENSION_USAGE: _dimension_usage(item.get(table.DIMENSION_USAGE)),
        "status": status_of(item).value,
        table.METERING_RESPONSE: _metering_response(item.get(table.METERING_RESPONSE)),
    }
    if table.REQUEST_ID in item:
        record[table.REQUEST_ID] = _plain(item[table.REQUEST_ID])
    return record


def status_of(item: Item) -> RecordStatus:
    """Tell what became of a record, as the filters of :meth:`MeteringTable.query` do."""
    if item.get(table.METERING_PENDING) == table.IS_PENDING:
        return RecordStatus.PENDING
    if item.get(table.METERING_FAILED) == table.HAS_FAILED:
        return RecordStatus.FAILED
    return RecordStatus.METERED


def _dimension_usage(attribute: AttributeValueTypeDef | None) -> list[Json]:
    usage: list[Json] = []
    for entry in (attribute or {}).get("L", ()):
        fields = entry.get("M")
        if fields is not None:
            usage.append(
                {
                    table.DIMENSION: _plain(fields.get(table.DIMENSION)),
                    table.VALUE: _plain(fields.get(table.VALUE)),
                }
            )
    return usage


def _metering_response(attribute: AttributeValueTypeDef | None) -> Json:
    """Parse the job's JSON text; show anything else as it is stored."""
    stored = _plain(attribute)
    if not isinstance(stored, str):
        return stored
    try:
        parsed: Json = json.loads(stored, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        return stored
    return parsed


def _refuse_constant(name: str) -> None:
    """Keep NaN and Infinity out of our answer: JSON has no such numbers (RFC 8259, section 6)."""
    raise ValueError(name)


def _number(text: str) -> int | float:
    """Read a DynamoDB number: whole ones exactly, others as near as a JSON number usually is."""
    try:
        return int(text)
    except ValueError:
        number = Decimal(text)
        return int(number) if number == number.to_integral_value() else float(number)


def _plain(attribute: AttributeValueTypeDef | None) -> Json:  # noqa: PLR0911 - one for each DynamoDB type
    """Render an attribute of whatever type as JSON; bytes become base64."""
    match attribute:
        case {"S": value} | {"BOOL": value}:
            return cast("str | bool", value)
        case {"N": value}:
            return _number(cast("str", value))
        case {"B": value}:
            return base64.b64encode(cast("bytes", value)).decode()
        case {"L": elements}:
            return [_plain(element) for element in cast("Sequence[AttributeValueTypeDef]", elements)]
        case {"M": members}:
            fields = cast("Mapping[str, AttributeValueTypeDef]", members)
            return {name: _plain(member) for name, member in fields.items()}
        case {"SS": values}:
            return list(cast("Sequence[str]", values))
        case {"NS": values}:
            return [_number(value) for value in cast("Sequence[str]", values)]
        case {"BS": values}:
            return [base64.b64encode(value).decode() for value in cast("Sequence[bytes]", values)]
        case _:
            return None
