"""Fixtures of all unit tests: the functions' environment and the tables, in moto."""

from collections.abc import Iterator

from tests.environment import METERING_TABLE_NAME, create_tables

# isort: split
import boto3
import pytest
from hypothesis import settings
from moto import mock_aws
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from metering_handlers.inserting import writer
from tests.unit.lambda_calls import Api

# On a busy machine an example may take any time.
settings.register_profile("no-deadline", settings(), deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture(scope="session")
def dynamodb_client() -> DynamoDBClient:
    """Create the client once: reading its model takes longer than most tests."""
    return boto3.client("dynamodb")


@pytest.fixture
def dynamodb(dynamodb_client: DynamoDBClient, monkeypatch: pytest.MonkeyPatch) -> Iterator[DynamoDBClient]:
    # moto's transactions copy the whole backend, which other threads must not change meanwhile.
    monkeypatch.setattr(writer, "WRITE_PARALLELISM", 1)
    with mock_aws():
        create_tables(dynamodb_client)
        yield dynamodb_client


@pytest.fixture
def api(dynamodb: DynamoDBClient) -> Api:  # noqa: ARG001 - the functions need the table
    return Api()


class StoredItems:
    """Items of a table."""

    def __init__(self, client: DynamoDBClient, table_name: str = METERING_TABLE_NAME) -> None:
        self._client = client
        self._table_name = table_name

    def all(self) -> list[dict[str, AttributeValueTypeDef]]:
        pages = self._client.get_paginator("scan").paginate(TableName=self._table_name)
        return [item for page in pages for item in page["Items"]]

    def put(self, **attributes: AttributeValueTypeDef) -> None:
        self._client.put_item(TableName=self._table_name, Item=attributes)

    def delete(self, **key: AttributeValueTypeDef) -> None:
        self._client.delete_item(TableName=self._table_name, Key=key)

    def usage(self) -> list[tuple[str, dict[str, int]]]:
        """Customer and quantities of each record, by customer and time."""
        items = sorted(
            self.all(), key=lambda item: (item["customerIdentifier"]["S"], int(item["create_timestamp"]["N"]))
        )
        used = [(item["customerIdentifier"]["S"], item["dimension_usage"]["L"]) for item in items]
        return [
            (customer, {each["M"]["dimension"]["S"]: int(each["M"]["value"]["N"]) for each in dimensions})
            for customer, dimensions in used
        ]


@pytest.fixture
def stored(dynamodb: DynamoDBClient) -> StoredItems:
    return StoredItems(dynamodb)
