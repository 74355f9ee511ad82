"""Attributes that the hourly job stores, for each outcome of its call of BatchMeterUsage."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef


class _Stored(TypedDict):
    name: str
    metering_response: str
    metering_failed: bool


_RESPONSES: list[_Stored] = json.loads(Path(__file__).with_suffix(".json").read_text())

MARKED: Mapping[str, dict[str, AttributeValueTypeDef]] = {
    stored["name"]: {
        "metering_failed": {"BOOL": stored["metering_failed"]},
        "metering_response": {"S": stored["metering_response"]},
    }
    for stored in _RESPONSES
}
"""The attributes that the job sets, for the dimensions ``metered_1_id`` and ``metered_3_id``."""
