"""The metering table's attributes: the quickstart's names, and one of this API for tracing."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

CUSTOMER_IDENTIFIER = "customerIdentifier"
CREATE_TIMESTAMP = "create_timestamp"
DIMENSION_USAGE = "dimension_usage"
DIMENSION = "dimension"
VALUE = "value"
METERING_PENDING = "metering_pending"
METERING_FAILED = "metering_failed"
METERING_RESPONSE = "metering_response"
REQUEST_ID = "request_id"
IS_PENDING: AttributeValueTypeDef = {"S": "true"}
HAS_FAILED: AttributeValueTypeDef = {"BOOL": True}
