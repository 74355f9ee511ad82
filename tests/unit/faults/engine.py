"""DynamoDB for the simulated functions: moto in process, and the part of the contract it leaves out."""

from __future__ import annotations

import copy
import json
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from moto import mock_aws
from moto.core.botocore_stubber import MockRawResponse
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.exceptions import TransactionCanceledException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from botocore.awsrequest import AWSPreparedRequest

REGION = "us-east-1"


@dataclass(frozen=True)
class _Accepted:
    """Content of a ClientRequestToken's transaction."""

    transaction: str
    committed: bool


@dataclass(frozen=True)
class Execution:
    """Outcome of a request: the response, and the committed actions by table."""

    answer: AWSResponse
    committed: Sequence[str]


class Engine:
    """Executes transactions one at a time, each whole or not at all.

    moto ignores ``ClientRequestToken``, so its part of the contract is kept here: a committed transaction
    is not executed again, and a token that comes back with other items is refused.
    """

    def __init__(self) -> None:
        self._accepted: dict[str, _Accepted] = {}

    def execute(self, request: AWSPreparedRequest) -> Execution:
        """Execute a TransactWriteItems request as it came over the wire."""
        token, transaction = token_and_transaction(request)
        before = self._accepted.get(token)
        if before and before.transaction != transaction:
            code = "IdempotentParameterMismatchException"
            answer = error_response(request, 400, code, "The token came with other items before.")
            return Execution(answer, ())
        if before and before.committed:
            return Execution(response_to(request, 200, "{}"), ())
        try:
            # Below moto's own HTTP layer, which takes more time than the transaction.
            _backend().transact_write_items(_body(request)["TransactItems"])
        except TransactionCanceledException as error:
            self._accepted[token] = _Accepted(transaction, committed=False)
            return Execution(response_to(request, 400, str(error.description)), ())
        self._accepted[token] = _Accepted(transaction, committed=True)
        return Execution(response_to(request, 200, "{}"), tables_of(request))

    def items(self, table_name: str) -> list[dict[str, object]]:
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


def tables_of(request: AWSPreparedRequest) -> list[str]:
    """Name the table of each action of a transaction."""
    return [put["TableName"] for put in _puts(request)]


def summary_of(request: AWSPreparedRequest) -> str:
    """Summarize a transaction's Put actions in one line."""
    keys = [
        "{customerIdentifier[S]}@{create_timestamp[N]}" if "customerIdentifier" in put["Item"] else "{id[S]}"
        for put in _puts(request)
    ]
    items = [key.format_map(put["Item"]) for key, put in zip(keys, _puts(request), strict=True)]
    return f"{', '.join(items)} (token {token_and_transaction(request)[0][:4]})"


def _body(request: AWSPreparedRequest) -> dict[str, Any]:
    assert isinstance(request.body, bytes)
    body: dict[str, Any] = json.loads(request.body)
    return body


def _puts(request: AWSPreparedRequest) -> list[dict[str, Any]]:
    return [action["Put"] for action in _body(request)["TransactItems"]]


def error_response(
    request: AWSPreparedRequest, status: int, code: str, message: str, **members: object
) -> AWSResponse:
    """Create an error response in DynamoDB's protocol."""
    error = {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "Message": message, **members}
    return response_to(request, status, json.dumps(error))


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
