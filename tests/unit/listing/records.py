"""Records as the hourly job leaves them, for each outcome of its call of BatchMeterUsage; and their lists."""

import json
from pathlib import Path
from typing import Any

from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from tests.unit.lambda_calls import Api

Item = dict[str, AttributeValueTypeDef]

START = 1_795_446_956_551
PENDING: Item = {"metering_pending": {"S": "true"}}
MARKED: dict[str, Item] = {
    stored["name"]: {
        "metering_failed": {"BOOL": stored["metering_failed"]},
        "metering_response": {"S": stored["metering_response"]},
    }
    for stored in json.loads(Path(__file__).with_name("metering_responses.json").read_text())
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


def pages(api: Api, **query: str) -> list[Any]:
    """List customer c's records, or their totals, page by page."""
    found = [api.records("c", **query).body]
    while (token := found[-1]["next_token"]) is not None:
        found.append(api.records("c", **query, next_token=token).body)
    return found
