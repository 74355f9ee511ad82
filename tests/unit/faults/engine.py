"""DynamoDB for the simulated functions: moto in process, and the part of the contract it leaves out.

moto evaluates each condition as it is written, so a wrong one shows; the benchmarks' stub knows only those in
use.
"""

import copy
import json
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from botocore.awsrequest import AWSPreparedRequest
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.dynamodb.exceptions import TransactionCanceledException
from moto.dynamodb.models import DynamoDBBackend, dynamodb_backends
from moto.dynamodb.models.table import Table

T = TypeVar("T")
Put = Mapping[str, Any]
"""A Put action as it came over the wire."""

REGION = "us-east-1"
SUBSCRIBERS_TABLE_NAME = "AWSMarketplaceSubscribers"


class Request:
    """A BatchGetItem or TransactWriteItems request."""

    def __init__(self, request: AWSPreparedRequest) -> None:
        assert isinstance(request.body, bytes)
        self._body: dict[str, Any] = json.loads(request.body)
        self.token = str(self._body.pop("ClientRequestToken", ""))
        self.content = json.dumps(self._body, sort_keys=True)
        """All but the token."""
        self.is_read = "RequestItems" in self._body
        self.puts: list[Put] = [action["Put"] for action in self._body.get("TransactItems", ())]
        self.reads: dict[str, Any] = self._body.get("RequestItems", {})

    def __str__(self) -> str:
        names = [
            item["id"]["S"][-15:]
            if "id" in item
            else f"{item['customerIdentifier']['S']}@{item.get('create_timestamp')}"
            for item in self.keys or [put["Item"] for put in self.puts]
        ]
        return f"{', '.join(names)} (token {self.token[:4]})"

    @property
    def keys(self) -> list[dict[str, Any]]:
        """The keys that it reads."""
        return [key for wanted in self.reads.values() for key in wanted["Keys"]]


class Response(NamedTuple):
    """Status and body; and what the request committed."""

    status: int
    body: str
    committed: Sequence[Put] = ()


class Engine:
    """Executes requests one at a time, each transaction whole or not at all; begins with empty tables.

    moto ignores ``ClientRequestToken``, so its part of the contract is kept here: a committed transaction
    is not executed again, and a token that comes back with other items is refused.
    """

    def __init__(self) -> None:
        self._contents: dict[str, str] = {}
        """Of the transactions sent, by their tokens."""
        self._committed: set[str] = set()
        for table in _backend().tables.values():
            table.items.clear()

    def transact(self, request: Request, cancelled_by: str | None = None) -> Response:
        """Execute a transaction, or cancel it because of its first item: another copy may be on its way."""
        if self._contents.setdefault(request.token, request.content) != request.content:
            return Response(400, error("IdempotentParameterMismatchException"))
        if request.token in self._committed:
            return Response(200, "{}")
        if cancelled_by:
            reasons = [{"Code": cancelled_by}, *[{"Code": "None"}] * (len(request.puts) - 1)]
            return Response(400, error("TransactionCanceledException", CancellationReasons=reasons))
        try:
            # Below moto's own HTTP layer, which takes more time than the transaction.
            _backend().transact_write_items(json.loads(request.content)["TransactItems"])
        except TransactionCanceledException as cancelled:
            return Response(400, str(cancelled.description))
        self._committed.add(request.token)
        return Response(200, "{}", request.puts)

    def read(self, request: Request, keys: Sequence[Mapping[str, Any]]) -> Response:
        """Read some of the items that a request wants; the others are unprocessed."""
        ((table, wanted),) = request.reads.items()
        assert wanted["ConsistentRead"] or table == SUBSCRIBERS_TABLE_NAME, "need not see what is stored"
        found = [item for key in keys if (item := _backend().get_item(table, dict(key)))]
        left = [key for key in request.keys if key not in keys]
        answer = {
            "Responses": {table: [item.to_json()["Attributes"] for item in found]},
            "UnprocessedKeys": {table: {**wanted, "Keys": left}} if left else {},
        }
        return Response(200, json.dumps(answer))


def _backend() -> DynamoDBBackend:
    return dynamodb_backends[DEFAULT_ACCOUNT_ID][REGION]


def error(code: str, **members: object) -> str:
    """Create the body of an error in DynamoDB's protocol."""
    return json.dumps(
        {"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "Message": "injected", **members}
    )


def named_in_part(body: str) -> str | None:
    """Leave out a part of the failed conditions of a cancellation; return None if there are not several."""
    cancelled = json.loads(body)
    reasons = cancelled.get("CancellationReasons", [])
    failed = [index for index, reason in enumerate(reasons) if reason["Code"] == "ConditionalCheckFailed"]
    if len(failed) < 2:
        return None
    for index in part_of(failed, at_least=1):
        reasons[index] = {"Code": "None"}
    return json.dumps(cancelled)


def part_of(items: Sequence[T], *, at_least: int) -> list[T]:
    """Choose some, but not all; Hypothesis seeds the choice."""
    return random.sample(items, random.randrange(at_least, len(items)))  # noqa: S311


def snapshot(table: Table, _memo: object) -> Table:
    """Copy a table for a rollback: a put replaces items and never changes one, so sharing them is safe.

    moto copies every item of the table for every action of a transaction, which takes most of its time.
    """
    clone = copy.copy(table)
    clone.items = defaultdict(
        dict, {key: copy.copy(items) if table.has_range_key else items for key, items in table.items.items()}
    )
    return clone
