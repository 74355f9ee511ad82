"""What the unit tests share: the functions' environment, and a metering table in moto, in process."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

# Before the handlers are imported: they read their environment, and make their clients, at start.
TABLE_NAME = "AWSMarketplaceMeteringRecords"
IDEMPOTENCY_TABLE_NAME = "idempotency"
os.environ.update(
    AWS_ACCESS_KEY_ID="test",
    AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - moto's
    AWS_DEFAULT_REGION="us-east-1",
    METERING_TABLE_NAME=TABLE_NAME,
    IDEMPOTENCY_TABLE_NAME=IDEMPOTENCY_TABLE_NAME,
    IDEMPOTENCY_HOURS="24",
    POWERTOOLS_SERVICE_NAME="metering-api",
    POWERTOOLS_METRICS_NAMESPACE="MarketplaceMetering",
)
for variable in ("AWS_PROFILE", "AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_DYNAMODB"):
    os.environ.pop(variable, None)

import boto3  # noqa: E402
import pytest  # noqa: E402
from moto import mock_aws  # noqa: E402

from metering_handlers import record_writer  # noqa: E402
from tests.unit.lambda_calls import Api  # noqa: E402

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

TABLE_DEFINITION = Path(__file__).parents[2] / "local" / "metering_table.json"


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator["DynamoDBClient"]:
    # moto's transactions copy the whole backend, which other threads must not change meanwhile.
    monkeypatch.setattr(record_writer, "WRITE_PARALLELISM", 1)
    with mock_aws():
        client = boto3.client("dynamodb")
        client.create_table(TableName=TABLE_NAME, **json.loads(TABLE_DEFINITION.read_text()))
        client.create_table(
            TableName=IDEMPOTENCY_TABLE_NAME,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        )
        yield client


@pytest.fixture
def api(dynamodb: "DynamoDBClient") -> Api:  # noqa: ARG001 - the functions need the table
    return Api()


class StoredItems:
    """What the metering table holds."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client

    def all(self) -> list[dict[str, "AttributeValueTypeDef"]]:
        pages = self._client.get_paginator("scan").paginate(TableName=TABLE_NAME)
        return [item for page in pages for item in page["Items"]]

    def put(self, **attributes: "AttributeValueTypeDef") -> None:
        self._client.put_item(TableName=TABLE_NAME, Item=attributes)


@pytest.fixture
def stored(dynamodb: "DynamoDBClient") -> StoredItems:
    return StoredItems(dynamodb)
