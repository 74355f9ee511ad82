"""DynamoDB for the simulated functions: moto in process, and the part of the contract it leaves out."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from moto import mock_aws
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.exceptions import TransactionCanceledException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table

REGION = "us-east-1"
SUBSCRIBERS_TABLE_NAME = "AWSMarketplaceSubscribers"


@dataclass(frozen=True)
class _Accepted:
    """Content of a ClientRequestToken's transaction."""

    transaction: str
    is_committed: bool = False


Put = Mapping[str, Any]
"""A Put action as it came over the wire."""


@dataclass(frozen=True)
class Execution:
    """Outcome of a request: the response, and what it committed."""

    answer: AWSResponse
    committed: Sequence[Put] = ()


class Engine:
    """Executes requests one at a time, each transaction whole or not at all.

    moto ignores ``ClientRequestToken``, so its part of the contract is kept here: a committed transaction
    is not executed again, and a token that comes back with other items is refused.
    """

    def __init__(self) -> None:
        self._accepted: dict[str, _Accepted] = {}

    def execute(self, request: AWSPreparedRequest) -> Execution:
        """Execute a request as it came over the wire."""
        if is_read(request):
            return Execution(self.read(request, keys_of(request)))
        token, transaction = token_and_transaction(request)
        before = self._accepted.setdefault(token, _Accepted(transaction))
        if before.transaction != transaction:
            code = "IdempotentParameterMismatchException"
            return Execution(error_response(request, 400, code, "The token came with other items before."))
        if before.is_committed:
            return Execution(response_to(request, 200, "{}"))
        try:
            # Below moto's own HTTP layer, which takes more time than the transaction.
            _backend().transact_write_items(_body(request)["TransactItems"])
        except TransactionCanceledException as error:
            return Execution(response_to(request, 400, str(error.description)))
        self._accepted[token] = _Accepted(transaction, is_committed=True)
        return Execution(response_to(request, 200, "{}"), puts_of(request))

    def cancel(self, request: AWSPreparedRequest, code: str) -> AWSResponse:
        """Cancel a transaction because of its first item; another copy of it may still be on its way."""
        token, transaction = token_and_transaction(request)
        if self._accepted.setdefault(token, _Accepted(transaction)).is_committed:
            return self.execute(request).answer
        reasons = [{"Code": code, "Message": "injected"}, *[{"Code": "None"}] * (len(puts_of(request)) - 1)]
        error = _error("TransactionCanceledException", "injected", CancellationReasons=reasons)
        return response_to(request, 400, error)

    def read(self, request: AWSPreparedRequest, keys: Sequence[Mapping[str, Any]]) -> AWSResponse:
        """Answer a BatchGetItem request for some of its keys; the others are unprocessed."""
        ((table, wanted),) = _body(request)["RequestItems"].items()
        assert wanted["ConsistentRead"] or table == SUBSCRIBERS_TABLE_NAME, "need not see what is stored"
        found = [item for key in keys if (item := _backend().get_item(table, dict(key)))]
        left = [key for key in wanted["Keys"] if key not in keys]
        answer = {
            "Responses": {table: [item.to_json()["Attributes"] for item in found]},
            "UnprocessedKeys": {table: {**wanted, "Keys": left}} if left else {},
        }
        return response_to(request, 200, json.dumps(answer))

    def items(self, table_name: str) -> list[dict[str, Any]]:
        """Return what a table holds, as Python values."""
        return [item.to_regular_json() for item in self._table(table_name).all_items()]

    def delete(self, table_name: str, hash_key: str) -> None:
        """Delete an item as TTL does."""
        table = self._table(table_name)
        table.items = defaultdict(
            dict, {key: item for key, item in table.items.items() if key.value != hash_key}
        )

    def clear(self) -> None:
        """Empty all tables, and forget the tokens."""
        self._accepted.clear()
        for table in _backend().tables.values():
            table.items.clear()

    @staticmethod
    def _table(name: str) -> Table:
        return _backend().tables[name]


def _backend() -> DynamoDBBackend:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]


def token_and_transaction(request: AWSPreparedRequest) -> tuple[str, str]:
    """Split a TransactWriteItems request into its ClientRequestToken and its content."""
    body = _body(request)
    token = str(body.pop("ClientRequestToken"))
    return token, json.dumps(body, sort_keys=True)


def is_read(request: AWSPreparedRequest) -> bool:
    """Return whether it is BatchGetItem, and not TransactWriteItems."""
    return "RequestItems" in _body(request)


def keys_of(request: AWSPreparedRequest) -> list[Mapping[str, Any]]:
    """Return the keys that a BatchGetItem request asks for."""
    ((_, wanted),) = _body(request)["RequestItems"].items()
    return list(wanted["Keys"])


def puts_of(request: AWSPreparedRequest) -> list[Put]:
    """Return the actions of a transaction."""
    return [action["Put"] for action in _body(request)["TransactItems"]]


def summary_of(request: AWSPreparedRequest) -> str:
    """Summarize a request in one line."""
    if is_read(request):
        return f"reads {', '.join(name['S'][:12] for key in keys_of(request) for name in key.values())}"
    items = [
        f"{item['customerIdentifier']['S']}@{item['create_timestamp']['N']}"
        if "id" not in item
        else item["id"]["S"][-15:]
        for item in (put["Item"] for put in puts_of(request))
    ]
    return f"{', '.join(items)} (token {token_and_transaction(request)[0][:4]})"


def _body(request: AWSPreparedRequest) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    body: dict[str, Any] = json.loads(request.body)
    return body


def _error(code: str, message: str, **members: object) -> str:
    return json.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "Message": message, **members})


def error_response(request: AWSPreparedRequest, status: int, code: str, message: str) -> AWSResponse:
    """Create an error response in DynamoDB's protocol."""
    return response_to(request, status, _error(code, message))


def response_to(request: AWSPreparedRequest, status: int, body: str) -> AWSResponse:
    """Create a response with any body."""
    headers = HTTPHeaders.from_dict({"Content-Type": "application/x-amz-json-1.0"})
    return AWSResponse(request.url, status, headers, MockRawResponse(body))


def _snapshot(table: Table, _memo: object) -> Table:
    """Copy a table for a rollback: a put replaces items and never changes one, so sharing them is safe.

    moto copies every item of the table for every action of a transaction, which takes most of its time.
    """
    clone = copy.copy(table)
    clone.items = defaultdict(
        dict, {key: copy.copy(items) if table.has_range_key else items for key, items in table.items.items()}
    )
    return clone


@contextmanager
def running_engine() -> Iterator[Engine]:
    """Start an engine without tables; plain boto3 clients reach it too, without faults."""
    with patch.object(Table, "__deepcopy__", _snapshot, create=True), mock_aws():
        yield Engine()
