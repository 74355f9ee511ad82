"""Fixtures of all unit tests: the functions' environment and the tables, in moto."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from tests.environment import METERING_TABLE_NAME, create_tables

# isort: split
import boto3
import pytest
from hypothesis import settings
from moto import mock_aws

from metering_handlers import record_writer
from tests.unit.lambda_calls import Api

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

# On a busy machine an example may take any time.
settings.register_profile("no-deadline", settings(), deadline=None)
settings.load_profile("no-deadline")


@pytest.fixture
def dynamodb(monkeypatch: pytest.MonkeyPatch) -> Iterator["DynamoDBClient"]:
    # moto's transactions copy the whole backend, which other threads must not change meanwhile.
    monkeypatch.setattr(record_writer, "WRITE_PARALLELISM", 1)
    with mock_aws():
        client = boto3.client("dynamodb")
        create_tables(client)
        yield client


@pytest.fixture
def api(dynamodb: "DynamoDBClient") -> Api:  # noqa: ARG001 - the functions need the table
    return Api()


class StoredItems:
    """Items of the metering table."""

    def __init__(self, client: "DynamoDBClient") -> None:
        self._client = client

    def all(self) -> list[dict[str, "AttributeValueTypeDef"]]:
        pages = self._client.get_paginator("scan").paginate(TableName=METERING_TABLE_NAME)
        return [item for page in pages for item in page["Items"]]

    def put(self, **attributes: "AttributeValueTypeDef") -> None:
        self._client.put_item(TableName=METERING_TABLE_NAME, Item=attributes)


@pytest.fixture
def stored(dynamodb: "DynamoDBClient") -> StoredItems:
    return StoredItems(dynamodb)
