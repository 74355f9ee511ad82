"""Stored records as the list endpoint returns them, including unusual ones that were inserted by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metering_handlers import table_attributes as table
from metering_handlers.attribute_values import as_json
from metering_handlers.outcomes import Outcome

if TYPE_CHECKING:
    from metering_handlers.attribute_values import Json
    from metering_handlers.metering_table import Item
    from metering_handlers.outcomes import DimensionOutcome


def shown(item: Item, outcome: Outcome) -> dict[str, Json]:
    """Render one item of the metering table.

    Parameters
    ----------
    item : Item
        Item of the table; all attributes but the key may be missing or have another type.
    outcome : Outcome
        Its outcome.

    Returns
    -------
    dict[str, Json]
        The record, with ``request_id`` only if one is stored.
    """
    # A status becomes a plain string: pydantic serializes members of an enum several times slower.
    record: dict[str, Json] = {
        table.CUSTOMER_IDENTIFIER: as_json(item[table.CUSTOMER_IDENTIFIER]),
        table.CREATE_TIMESTAMP: as_json(item[table.CREATE_TIMESTAMP]),
        table.DIMENSION_USAGE: [_usage(dimension) for dimension in outcome.dimensions],
        "status": str(outcome.status),
        table.METERING_RESPONSE: outcome.metering_response,
    }
    if table.REQUEST_ID in item:
        record[table.REQUEST_ID] = as_json(item[table.REQUEST_ID])
    return record


def shown_in_brief(item: Item, outcome: Outcome) -> dict[str, Json]:
    """Render only key and status of an item that is too large."""
    key = {name: item[name] for name in (table.CUSTOMER_IDENTIFIER, table.CREATE_TIMESTAMP)}
    return shown(key, Outcome(outcome.status, (), None))


def _usage(outcome: DimensionOutcome) -> dict[str, Json]:
    usage: dict[str, Json] = {
        table.DIMENSION: outcome.dimension,
        table.VALUE: outcome.value,
        "status": str(outcome.status),
    }
    if outcome.reason is not None:
        usage["reason"] = outcome.reason
    return usage
