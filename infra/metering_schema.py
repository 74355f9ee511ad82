"""Keys and index of the metering table, as the AWS Marketplace SaaS quickstart creates them."""

from metering_handlers.contract.attributes import CREATE_TIMESTAMP, CUSTOMER_IDENTIFIER, METERING_PENDING

PARTITION_KEY = (CUSTOMER_IDENTIFIER, "S")
"""Name and DynamoDB type of the partition key."""
SORT_KEY = (CREATE_TIMESTAMP, "N")
PENDING_INDEX = "PendingMeteringRecordsIndex"
"""The index by which the quickstart's hourly job finds pending records."""
PENDING_INDEX_KEY = (METERING_PENDING, "S")
