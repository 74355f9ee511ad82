"""Environment variables and moto tables of the functions; to be imported before the functions' modules."""

import json
import os
from pathlib import Path

import moto.core  # noqa: F401 - reaches only the clients that are made after it
from mypy_boto3_dynamodb import DynamoDBClient

METERING_TABLE_NAME = "AWSMarketplaceMeteringRecords"
IDEMPOTENCY_TABLE_NAME = "idempotency"
_METERING_TABLE = Path(__file__).parents[1] / "tools" / "local_cloud" / "metering_table.json"

# The functions read environment variables and create their clients when they are imported.
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - moto's
    AWS_DEFAULT_REGION="us-east-1",
    METERING_TABLE_NAME=METERING_TABLE_NAME,
    IDEMPOTENCY_TABLE_NAME=IDEMPOTENCY_TABLE_NAME,
    IDEMPOTENCY_HOURS="24",
    TRANSACTION_ID_DAYS="90",
    POWERTOOLS_SERVICE_NAME="metering-api",
    POWERTOOLS_METRICS_NAMESPACE="MarketplaceMetering",
)
for _variable in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
    os.environ.pop(_variable, None)


def create_table(client: DynamoDBClient, name: str, key: str) -> None:
    """Create a table with a text as its key."""
    client.create_table(
        TableName=name,
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"}],
        KeySchema=[{"AttributeName": key, "KeyType": "HASH"}],
    )


def create_tables(client: DynamoDBClient) -> None:
    client.create_table(TableName=METERING_TABLE_NAME, **json.loads(_METERING_TABLE.read_text()))
    create_table(client, IDEMPOTENCY_TABLE_NAME, "id")
