"""Stored records as the list endpoint shows them, the odd ones that were inserted by hand included."""

from __future__ import annotations

from typing import TYPE_CHECKING

from metering_handlers import table_attributes as table
from metering_handlers.attribute_values import as_json

if TYPE_CHECKING:
    from metering_handlers.attribute_values import Json
    from metering_handlers.metering_table import Item
    from metering_handlers.outcomes import DimensionOutcome, Outcome


def shown(item: Item, outcome: Outcome) -> dict[str, Json]:
    """Render one item of the metering table.

    Parameters
    ----------
    item : Item
        The item as DynamoDB holds it; any attribute but the key may be missing or of another type.
    outcome : Outcome
        Its outcome.

    Returns
    -------
    dict[str, Json]
        The record; ``request_id`` only where one is stored.
    """
    record = shown_in_brief(item, outcome) | {
        table.DIMENSION_USAGE: [_usage(dimension) for dimension in outcome.dimensions],
        table.METERING_RESPONSE: outcome.metering_response,
    }
    if table.REQUEST_ID in item:
        record[table.REQUEST_ID] = as_json(item[table.REQUEST_ID])
    return record


def shown_in_brief(item: Item, outcome: Outcome) -> dict[str, Json]:
    """Render an item too large to be shown whole: its key and status."""
    return {
        table.CUSTOMER_IDENTIFIER: as_json(item[table.CUSTOMER_IDENTIFIER]),
        table.CREATE_TIMESTAMP: as_json(item[table.CREATE_TIMESTAMP]),
        table.DIMENSION_USAGE: [],
        "status": outcome.status.value,
        table.METERING_RESPONSE: None,
    }


def _usage(outcome: DimensionOutcome) -> dict[str, Json]:
    usage: dict[str, Json] = {
        table.DIMENSION: outcome.dimension,
        table.VALUE: outcome.value,
        "status": outcome.status.value,
    }
    if outcome.reason is not None:
        usage["reason"] = outcome.reason
    return usage
