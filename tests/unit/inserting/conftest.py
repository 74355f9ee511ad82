"""Fixtures of the inserts: the idempotency table's rows, and the functions' calls of DynamoDB."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers.inserting import division, insertion
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import FUNCTION_TIME_MS, Answer, Api, Headers, buyer, buyers

Call = Callable[..., object]
"""Answers a request to DynamoDB."""
Deploy = Callable[..., None]
"""Changes the deployment's rules, by their names."""


# Three small chunks: two customers in the first, three in each other.
WITHOUT_IDS = [buyer(f"c{number}", m=number) for number in range(8)]
WITH_IDS = [buyer(f"c{number}", f"t{number}", m=number) for number in range(8)]
THREE_CHUNKS = buyers(*WITHOUT_IDS)


class Rows(StoredItems):
    """Rows of the idempotency table."""

    def __init__(self, client: DynamoDBClient) -> None:
        super().__init__(client, IDEMPOTENCY_TABLE_NAME)

    def of_requests(self) -> dict[str, Mapping[str, Any]]:
        return {row["id"]["S"]: row for row in self.all() if "#" in row["id"]["S"]}

    def of_entries(self) -> list[Mapping[str, Any]]:
        return [row for row in self.all() if "#" not in row["id"]["S"]]

    def expire_at(self, row: Mapping[str, Any], seconds: int) -> None:
        self.put(**{**row, "expires_at": {"N": str(seconds)}})

    def delete(self, row_id: str) -> None:
        self._client.delete_item(TableName=IDEMPOTENCY_TABLE_NAME, Key={"id": {"S": row_id}})


@pytest.fixture
def rows(dynamodb: DynamoDBClient) -> Rows:
    return Rows(dynamodb)


def client_error(code: str) -> ClientError:
    return ClientError({"Error": {"Code": code, "Message": ""}}, "Operation")


class Calls:
    """The functions' calls of DynamoDB: counted, and disturbed where a test says so."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        """``write`` for each TransactWriteItems, ``read`` for each BatchGetItem."""
        self.requests: list[dict[str, Any]] = []
        """The TransactWriteItems."""
        self.reads: list[dict[str, Any]] = []
        """What each BatchGetItem asks of its one table, without the table's name."""
        self.on_write: Callable[..., object] | None = None
        """Answers a TransactWriteItems; gets DynamoDB's own answer as a function of the request."""
        self.on_read: Callable[..., object] | None = None
        self._api = api
        client = insertion.tables.client
        transact, read = client.transact_write_items, client.batch_get_item

        def transact_write_items(**request: Any) -> object:  # noqa: ANN401
            self._note("write")
            self.requests.append(request)
            return self.on_write(transact, **request) if self.on_write else transact(**request)

        def batch_get_item(**request: Any) -> object:  # noqa: ANN401
            self._note("read")
            self.reads.extend(request["RequestItems"].values())
            return self.on_read(read, **request) if self.on_read else read(**request)

        monkeypatch.setattr(client, "transact_write_items", transact_write_items)
        monkeypatch.setattr(client, "batch_get_item", batch_get_item)

    def _note(self, call: str) -> None:
        # Time passes, so that calls without end fail a test.
        self._api.context.remaining_ms -= 100
        self.log.append(call)

    @property
    def transactions(self) -> list[list[dict[str, Any]]]:
        """The puts of each transaction."""
        return [[action["Put"] for action in request["TransactItems"]] for request in self.requests]

    @property
    def units(self) -> int:
        """Write units of all transactions: of a small record 3, with its index; of a row 2."""
        puts = [put for transaction in self.transactions for put in transaction]
        return sum(3 if put["TableName"] == METERING_TABLE_NAME else 2 for put in puts)

    def clear(self) -> None:
        self.log.clear()
        self.requests.clear()

    def write_nothing(self) -> None:
        """Let each transaction succeed unwritten: moto takes long for many items."""
        self.on_write = lambda _, **__: {}

    def cut_off(self, body: object, headers: Headers | None = None, *, after: int = 1) -> Answer:
        """Return the 503 to a bulk insert whose time runs out when that many chunks are written."""
        left = iter(range(after - 1, -1, -1))

        def write(call: Call, **request: object) -> object:
            answer = call(**request)
            if next(left) == 0:
                self._api.context.remaining_ms = 0
            return answer

        self.on_write = write
        answer = self._api.insert_many(body, headers)
        assert answer.status == 503
        self.on_write = None
        self._api.context.remaining_ms = FUNCTION_TIME_MS
        self.clear()
        return answer

    def refuse(self, code: str) -> None:
        """Let each transaction fail with an error, as time goes by."""

        def refuse(_: Call, **__: object) -> object:
            self._api.context.remaining_ms -= 1_000
            raise client_error(code)

        self.on_write = refuse


@pytest.fixture
def calls(api: Api, monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return Calls(api, monkeypatch)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a transaction have 4 actions: moto takes long for many items."""
    monkeypatch.setattr(division, "MAX_TRANSACTION_ACTIONS", 4)


@pytest.fixture
def deploy(monkeypatch: pytest.MonkeyPatch) -> Deploy:
    def deploy(**rules: Any) -> None:  # noqa: ANN401
        monkeypatch.setattr(insertion, "rules", dataclasses.replace(insertion.rules, **rules))

    return deploy
