"""Fixtures of the inserts: the idempotency table's rows, and the functions' calls of DynamoDB."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from metering_handlers.inserting import division, insertion
from tests.environment import IDEMPOTENCY_TABLE_NAME, METERING_TABLE_NAME
from tests.unit.conftest import StoredItems

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mypy_boto3_dynamodb import DynamoDBClient

    from tests.unit.lambda_calls import Api

    Answering = Callable[..., Any]

LOST = ReadTimeoutError(endpoint_url="https://dynamodb")


class Rows(StoredItems):
    """Rows of the idempotency table."""

    def __init__(self, client: DynamoDBClient) -> None:
        super().__init__(client, IDEMPOTENCY_TABLE_NAME)

    def by_id(self) -> dict[str, Mapping[str, Any]]:
        return {row["id"]["S"]: row for row in self.all()}

    def of_requests(self) -> dict[str, Mapping[str, Any]]:
        return {row_id: row for row_id, row in self.by_id().items() if "#" in row_id}

    def of_entries(self) -> list[Mapping[str, Any]]:
        return [row for row_id, row in self.by_id().items() if "#" not in row_id]

    def change(self, row_id: str, **attributes: Any) -> None:  # noqa: ANN401 - as DynamoDB has them
        self.put(**{**self.by_id()[row_id], **attributes})

    def delete(self, row_id: str) -> None:
        self._client.delete_item(TableName=IDEMPOTENCY_TABLE_NAME, Key={"id": {"S": row_id}})


@pytest.fixture
def rows(dynamodb: DynamoDBClient) -> Rows:
    return Rows(dynamodb)


class Calls:
    """The functions' calls of DynamoDB: counted, and disturbed where a test says so.

    Attributes
    ----------
    log : list[str]
        ``write`` for each TransactWriteItems, ``read`` for each BatchGetItem.
    on_write, on_read : Answering
        Answers a call; gets DynamoDB's own answer as a function of the request.
    """

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        client = insertion.writer.client
        self.log: list[str] = []
        self.transactions: list[list[dict[str, Any]]] = []
        self.on_write: Answering = lambda call, **request: call(**request)
        self.on_read: Answering = lambda call, **request: call(**request)
        self._api = api
        transact, read = client.transact_write_items, client.batch_get_item

        def transact_write_items(**request: Any) -> object:  # noqa: ANN401
            self._pass_time()
            self.log.append("write")
            self.transactions.append([action["Put"] for action in request["TransactItems"]])
            return self.on_write(transact, **request)

        def batch_get_item(**request: Any) -> object:  # noqa: ANN401
            self._pass_time()
            self.log.append("read")
            return self.on_read(read, **request)

        monkeypatch.setattr(client, "transact_write_items", transact_write_items)
        monkeypatch.setattr(client, "batch_get_item", batch_get_item)

    def _pass_time(self) -> None:
        """Take some of the function's time, so that calls without end fail a test."""
        self._api.context.remaining_ms -= 100

    @property
    def units(self) -> int:
        """Write units of all transactions: of a small record 3, with its index; of a row 2."""
        return sum(
            3 if put["TableName"] == METERING_TABLE_NAME else 2
            for transaction in self.transactions
            for put in transaction
        )

    def clear(self) -> None:
        self.log.clear()
        self.transactions.clear()

    def time_out_after(self, writes: int) -> None:
        """Let the function's time run out when that many transactions are written."""
        left = iter(range(writes - 1, -1, -1))

        def write(call: Answering, **request: object) -> object:
            answer = call(**request)
            if next(left) == 0:
                self._api.context.remaining_ms = 0
            return answer

        self.on_write = write

    def lose_the_answer(self, *lost: int) -> None:
        """Commit, but do not answer, the transactions of these numbers, from 0."""

        def write(call: Answering, **request: object) -> object:
            answer = call(**request)
            if len(self.transactions) - 1 in lost:
                raise LOST
            return answer

        self.on_write = write

    def cancel(self, reason_of: Callable[[Mapping[str, Any]], str]) -> None:
        """Cancel each transaction; get the reason for each item."""

        def write(_: Answering, **request: Any) -> object:  # noqa: ANN401
            codes = [reason_of(action["Put"]["Item"]) for action in request["TransactItems"]]
            answer: Any = {
                "Error": {"Code": "TransactionCanceledException", "Message": ""},
                "CancellationReasons": [{"Code": code} for code in codes],
            }
            raise insertion.writer.client.exceptions.TransactionCanceledException(
                answer, "TransactWriteItems"
            )

        self.on_write = write

    def refuse(self, code: str = "ThrottlingException") -> None:
        """Let each transaction fail with an error, as time goes by."""

        def write(_: Answering, **__: object) -> object:
            self._api.context.remaining_ms -= 1_000
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "TransactWriteItems")

        self.on_write = write

    def again(self) -> None:
        """Let DynamoDB answer again, in a function that has all of its time."""
        self.on_write = self.on_read = lambda call, **request: call(**request)
        self._api.context.remaining_ms = 27_000
        self.clear()


@pytest.fixture
def calls(api: Api, monkeypatch: pytest.MonkeyPatch) -> Calls:
    monkeypatch.setattr(time, "sleep", lambda _: None)
    return Calls(api, monkeypatch)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a transaction have 4 actions: moto takes long for many items."""
    monkeypatch.setattr(division, "MAX_TRANSACTION_ACTIONS", 4)
