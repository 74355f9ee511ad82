"""Records as the hourly job leaves them, for each outcome of its call of BatchMeterUsage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, AttributeValueTypeDef]

_RESPONSES: list[dict[str, Any]] = json.loads(Path(__file__).with_suffix(".json").read_text())

START = 1_795_446_956_551
PENDING: Item = {"metering_pending": {"S": "true"}}
MARKED: dict[str, Item] = {
    stored["name"]: {
        "metering_failed": {"BOOL": stored["metering_failed"]},
        "metering_response": {"S": stored["metering_response"]},
    }
    for stored in _RESPONSES
}
"""The attributes that the job sets, for the dimensions ``metered_1_id`` and ``metered_3_id``."""


def record(timestamp: float | str, marks: Item, **values: int | AttributeValueTypeDef) -> Item:
    """Build a record of customer c: dimension names and their values."""
    usage: list[AttributeValueTypeDef] = [
        {"M": {"dimension": {"S": name}, "value": {"N": str(value)} if isinstance(value, int) else value}}
        for name, value in values.items()
    ]
    key: Item = {"customerIdentifier": {"S": "c"}, "create_timestamp": {"N": str(timestamp)}}
    return {**key, "dimension_usage": {"L": usage}, **marks}
