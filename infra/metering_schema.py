"""Keys and index of the metering table, as the AWS Marketplace SaaS quickstart creates them."""

PARTITION_KEY = ("customerIdentifier", "S")
"""Name and DynamoDB type of the partition key."""
SORT_KEY = ("create_timestamp", "N")
PENDING_INDEX = "PendingMeteringRecordsIndex"
"""The index by which the quickstart's hourly job finds pending records."""
PENDING_INDEX_KEY = ("metering_pending", "S")
