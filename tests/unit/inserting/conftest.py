"""Fixtures of the inserts: the idempotency table's rows, and the functions' calls of DynamoDB."""

import dataclasses
import itertools
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from botocore.exceptions import ClientError
from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from metering_handlers.inserting import division, insertion
from tests.environment import IDEMPOTENCY_TABLE_NAME
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

    def of_requests(self) -> dict[str, dict[str, AttributeValueTypeDef]]:
        return {row["id"]["S"]: row for row in self.all() if "#" in row["id"]["S"]}


@pytest.fixture
def rows(dynamodb: DynamoDBClient) -> Rows:
    return Rows(dynamodb, IDEMPOTENCY_TABLE_NAME)


class Calls:
    """The functions' calls of DynamoDB: noted, and disturbed where a test says so."""

    def __init__(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        self.log: list[str] = []
        """``write`` for each TransactWriteItems, ``read`` for each BatchGetItem."""
        self.writes: list[dict[str, Any]] = []
        self.reads: list[dict[str, Any]] = []
        self.on_write: Call | None = None
        """Answers a TransactWriteItems; gets DynamoDB's own answer as a function of the request."""
        self.on_read: Call | None = None
        """The same for a BatchGetItem."""
        self._api = api
        client = insertion.tables.client
        for name in ("transact_write_items", "batch_get_item"):
            monkeypatch.setattr(client, name, partial(self._answer, getattr(client, name)))

    def _answer(self, call: Call, /, **request: Any) -> object:  # noqa: ANN401
        # Time passes, so that calls without end fail a test.
        self._api.context.remaining_ms -= 100
        is_write = "TransactItems" in request
        self.log.append("write" if is_write else "read")
        (self.writes if is_write else self.reads).append(request)
        disturbed = self.on_write if is_write else self.on_read
        return disturbed(call, **request) if disturbed else call(**request)

    @property
    def transactions(self) -> list[list[dict[str, Any]]]:
        """The puts of each transaction."""
        return [[action["Put"] for action in request["TransactItems"]] for request in self.writes]

    def clear(self) -> None:
        self.log.clear()
        self.writes.clear()

    def cut_off(self, body: object, headers: Headers | None = None, *, after: int = 1) -> Answer:
        """Return the 503 to a bulk insert whose time runs out when that many chunks are written."""
        written = itertools.count(1)

        def write(call: Call, **request: object) -> object:
            answer = call(**request)
            if next(written) == after:
                self._api.context.remaining_ms = 0
            return answer

        self.on_write = write
        answer = self._api.insert_many(body, headers)
        assert answer.status == 503
        self.on_write = None
        self._api.context.remaining_ms = FUNCTION_TIME_MS
        self.clear()
        return answer


def failing(code: str, api: Api) -> Call:
    """Answer each call with an error of DynamoDB's, as time goes by."""

    def fail(*_: object, **__: object) -> object:
        api.context.remaining_ms -= 1_000
        raise ClientError({"Error": {"Code": code, "Message": ""}}, "Operation")

    return fail


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
