"""An in-memory server with DynamoDB's protocol, which takes 4 ms for each answer.

It supports what the functions and the references use, and behaves as DynamoDB does: conditions,
transactions that are all or nothing, client request tokens, pages, and with ``--limited`` the write limits of
a partition. ``python -m tools.benchmarks.dynamodb_stub`` prints its port and serves until it is stopped.
"""

import asyncio
import json
import sys
import time
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from typing import Any

LATENCY_SECONDS = 0.004
PARTITION_WRITE_UNITS = 1_000
"""Write units a second of one partition (Amazon DynamoDB Developer Guide, "Burst and adaptive capacity")."""
BURST_SECONDS = 300
"""Unused capacity that a partition keeps for later (the same page)."""
_PAGE_BYTES = 1_000_000
_MAX_READ_KEYS = 100

Item = dict[str, Any]


class StubError(Exception):
    """An error answer of DynamoDB: the exception's name in the API reference, and the answer's members."""

    def __init__(self, code: str, **members: object) -> None:
        super().__init__(code)
        self.code = code
        self.members = members


class _Partition:
    """Write capacity of one partition; it has none saved up at first, as one that has been busy."""

    def __init__(self, now: float) -> None:
        self.units = 0.0
        self.created = self._updated = now

    def admits(self, now: float) -> bool:
        """Return whether any units are left: a write may be larger than that, and the rest is owed."""
        earned = (now - self._updated) * PARTITION_WRITE_UNITS
        self.units = min(self.units + earned, PARTITION_WRITE_UNITS * BURST_SECONDS)
        self._updated = now
        return self.units > 0


class WriteLimits:
    """Write limits of the partitions that transactions reach; an item takes one unit, being below 1 KB.

    Each partition key value of a table has a partition of its own, which is as far as adaptive capacity goes.
    Preparing and committing an item takes its unit once each, so what was prepared for a transaction that is
    cancelled is lost. All pending records share one partition of the index. It is written after the commit,
    and back pressure rejects further writes to the table while it is behind (Amazon DynamoDB Developer Guide,
    "Transactions: how it works", "Burst and adaptive capacity", "Understanding GSI write throttling and back
    pressure"). That a rejected prepare costs nothing, and the order of prepares, are assumptions.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._partitions: dict[tuple[str, str], _Partition] = {}
        self._index: _Partition | None = None

    def prepare(self, puts: Sequence[Item]) -> list[bool]:
        """Charge the first half of a transaction; return for each put whether its partition admits it."""
        now = self._clock()
        self._index = self._index or _Partition(now)
        is_indexed = ["metering_pending" in put["Item"] for put in puts]
        if any(is_indexed) and not self._index.admits(now):
            return [not indexed for indexed in is_indexed]
        admitted = []
        for put in puts:
            # Nearly as empty as the index was, but a first write is admitted.
            new = _Partition(self._index.created - 0.01)
            partition = self._partitions.setdefault(_key(put["TableName"], put["Item"])[:2], new)
            admitted.append(partition.admits(now))
            partition.units -= admitted[-1]
        return admitted

    def commit(self, puts: Sequence[Item]) -> None:
        """Charge the second half, and the index."""
        for put in puts:
            self._partitions[_key(put["TableName"], put["Item"])[:2]].units -= 1
            if self._index and "metering_pending" in put["Item"]:
                self._index.units -= 1


def _key(table: str, item: Item) -> tuple[str, str, int]:
    partition = item["id"] if "id" in item else item["customerIdentifier"]
    return table, partition["S"], int(item["create_timestamp"]["N"]) if "create_timestamp" in item else 0


class Tables:
    """The items of all tables; a table is created with its first item."""

    def __init__(self, limits: WriteLimits | None = None) -> None:
        self._limits = limits
        self._items: dict[tuple[str, str, int], Item] = {}
        self._sort_keys: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._tokens: dict[str, list[Item]] = {}

    def answer(self, operation: str, request: Item) -> Item:
        """Answer one call; raises StubError if DynamoDB would answer with an error."""
        match operation:
            case "TransactWriteItems":
                return self._transact(request)
            case "BatchGetItem":
                return self._get(request)
            case "BatchWriteItem":
                for table, requests in request["RequestItems"].items():
                    for entry in requests:
                        self._store(table, entry["PutRequest"]["Item"])
                return {"UnprocessedItems": {}}
            case "PutItem":
                if not self._may_put(request):
                    raise StubError("ConditionalCheckFailedException")
                self._store(request["TableName"], request["Item"])
                return {}
            case "UpdateItem":
                return self._update(request)
            case "Query":
                return self._query(request)
        raise StubError("UnknownOperationException")

    def _transact(self, request: Item) -> Item:
        token, actions = request["ClientRequestToken"], request["TransactItems"]
        if token in self._tokens:
            if self._tokens[token] != actions:
                raise StubError("IdempotentParameterMismatchException")
            return {}
        puts = [action["Put"] for action in actions]
        reasons: list[Item] = []
        for put in puts:
            reason: Item = {"Code": "None"}
            if not self._may_put(put):
                reason = {"Code": "ConditionalCheckFailed"}
                if put.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                    reason["Item"] = self._items[_key(put["TableName"], put["Item"])]
            reasons.append(reason)
        if self._limits:
            # DynamoDB prepares every item, even if another one fails.
            for reason, admitted in zip(reasons, self._limits.prepare(puts), strict=True):
                if not admitted and reason["Code"] == "None":
                    reason["Code"] = "ThrottlingError"
        if any(reason["Code"] != "None" for reason in reasons):
            raise StubError("TransactionCanceledException", CancellationReasons=reasons)
        if self._limits:
            self._limits.commit(puts)
        for put in puts:
            self._store(put["TableName"], put["Item"])
        self._tokens[token] = actions
        return {}

    def _may_put(self, put: Item) -> bool:
        stored = self._items.get(_key(put["TableName"], put["Item"]))
        condition = put.get("ConditionExpression")
        if condition is None or stored is None:
            return True
        if condition.endswith(" OR expires_at < :before"):
            return int(stored["expires_at"]["N"]) < int(put["ExpressionAttributeValues"][":before"]["N"])
        return False

    def _get(self, request: Item) -> Item:
        if sum(len(read["Keys"]) for read in request["RequestItems"].values()) > _MAX_READ_KEYS:
            raise StubError("ValidationException")
        responses = {
            table: [item for named in read["Keys"] if (item := self._items.get(_key(table, named)))]
            for table, read in request["RequestItems"].items()
        }
        return {"Responses": responses, "UnprocessedKeys": {}}

    def _update(self, request: Item) -> Item:
        """Set attributes, the only update that Powertools' idempotency utility sends."""
        table, key = request["TableName"], request["Key"]
        item: Item = dict(self._items.get(_key(table, key)) or key)
        names, values = request["ExpressionAttributeNames"], request["ExpressionAttributeValues"]
        for assignment in request["UpdateExpression"].removeprefix("SET ").split(","):
            name, value = assignment.split("=")
            item[names[name.strip()]] = values[value.strip()]
        self._store(table, item)
        return {}

    def _query(self, request: Item) -> Item:
        table, customer = request["TableName"], request["ExpressionAttributeValues"][":customer"]["S"]
        keys = self._sort_keys[table, customer]
        forward = request.get("ScanIndexForward", True)
        if start := request.get("ExclusiveStartKey"):
            after = int(start["create_timestamp"]["N"])
            keys = keys[bisect_right(keys, after) :] if forward else keys[: bisect_left(keys, after)]
        if not forward:
            keys = keys[::-1]
        page: list[Item] = []
        size = 0
        for key in keys[: request.get("Limit")]:
            page.append(self._items[table, customer, key])
            size += len(json.dumps(page[-1]))
            if size > _PAGE_BYTES:
                break
        answer: Item = {"Items": page, "Count": len(page), "ScannedCount": len(page)}
        if page and len(page) < len(keys):
            last = ("customerIdentifier", "create_timestamp")
            answer["LastEvaluatedKey"] = {name: page[-1][name] for name in last}
        return answer

    def _store(self, table: str, item: Item) -> None:
        key = _key(table, item)
        if key not in self._items:
            insort(self._sort_keys[key[:2]], key[2])
        self._items[key] = item


async def serve(tables: Tables) -> asyncio.Server:
    """Listen on a free port of the loopback address."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError), closing(writer):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                fields = (line.split(": ", 1) for line in head[1:] if line)
                headers = {name.lower(): value for name, value in fields}
                body = await reader.readexactly(int(headers["content-length"]))
                await asyncio.sleep(LATENCY_SECONDS)
                operation = headers["x-amz-target"].partition(".")[2]
                try:
                    status, document = 200, tables.answer(operation, json.loads(body))
                except StubError as error:
                    status, document = 400, {"__type": f"dynamodb#{error.code}", **error.members}
                content = json.dumps(document).encode()
                writer.write(
                    f"HTTP/1.1 {status} \r\nContent-Type: application/x-amz-json-1.0\r\n"
                    f"Content-Length: {len(content)}\r\n\r\n".encode()
                    + content
                )
                await writer.drain()

    return await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)


async def _main(*options: str) -> None:
    server = await serve(Tables(WriteLimits() if "--limited" in options else None))
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
