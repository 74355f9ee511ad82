"""Attributes of the tables' items.

The metering table is the quickstart's: its names, and one of this API for tracing. The idempotency table has
two kinds of rows: one for each entry with a ``transaction_id``, and one for each chunk of a request.
"""

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
METERING_RESPONSE = "metering_response"
REQUEST_ID = "request_id"
IS_PENDING: AttributeValueTypeDef = {"S": "true"}
PARTITION_KEY = (CUSTOMER_IDENTIFIER, "S")
"""Name and DynamoDB type of the metering table's partition key."""
SORT_KEY = (CREATE_TIMESTAMP, "N")
PENDING_INDEX = "PendingMeteringRecordsIndex"
"""The index by which the quickstart's hourly job finds pending records."""
PENDING_INDEX_KEY = (METERING_PENDING, "S")

ROW_ID = "id"
EXPIRES_AT = "expires_at"
"""Seconds since the epoch; a row whose time has come counts as absent."""
DELETE_AFTER = "delete_after"
"""Seconds since the epoch; DynamoDB's time to live. It only tidies up, a day after the row has expired."""
DIGEST = "digest"
DIVISION = "division"
REQUEST_TIME = "request_time"
"""Time of the request that wrote the row, in ms since the epoch."""
RESULT = "result"
"""What became of each record and entry of the chunk, so that a repeat answers as the first did."""
