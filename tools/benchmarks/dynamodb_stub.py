"""A server that speaks DynamoDB's protocol from memory, and takes 4 ms for each answer.

It knows what the functions and their references ask of it, and answers that as DynamoDB does: conditions,
transactions that are all or nothing, client request tokens, pages.
``python -m tools.benchmarks.dynamodb_stub`` prints its port and serves until it is stopped.
"""

from __future__ import annotations

import asyncio
import json
from bisect import bisect_left, bisect_right, insort
from collections import defaultdict
from typing import Any

LATENCY_SECONDS = 0.004
_PAGE_BYTES = 1_000_000

Item = dict[str, Any]


class StubError(Exception):
    """An error answer of DynamoDB.

    Parameters
    ----------
    code : str
        The exception's name in the API reference.
    members : Item
        Further members of the answer.
    """

    def __init__(self, code: str, **members: object) -> None:
        super().__init__(code)
        self.code = code
        self.members = members


class Tables:
    """The items of all tables; a table comes into being with its first item."""

    def __init__(self) -> None:
        self._items: dict[tuple[str, str, int], Item] = {}
        self._sort_keys: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
        self._tokens: dict[str, str] = {}

    def answer(self, operation: str, request: Item) -> Item:
        """Answer one call.

        Parameters
        ----------
        operation : str
            The operation's name.
        request : Item
            Its parsed body.

        Raises
        ------
        StubError
            If DynamoDB would answer with that error.
        """
        match operation:
            case "TransactWriteItems":
                return self._transact(request)
            case "BatchWriteItem":
                for table, requests in request["RequestItems"].items():
                    for entry in requests:
                        self._store(table, entry["PutRequest"]["Item"])
                return {"UnprocessedItems": {}}
            case "PutItem":
                if not self._may_put(request):
                    raise StubError(
                        "ConditionalCheckFailedException", message="The conditional request failed"
                    )
                self._store(request["TableName"], request["Item"])
                return {}
            case "Query":
                return self._query(request)
        raise StubError("UnknownOperationException")

    def _transact(self, request: Item) -> Item:
        token, actions = request["ClientRequestToken"], request["TransactItems"]
        content = json.dumps(actions, sort_keys=True)
        if token in self._tokens:
            if self._tokens[token] != content:
                raise StubError("IdempotentParameterMismatchException")
            return {}
        puts = [action["Put"] for action in actions]
        reasons: list[Item] = []
        for put in puts:
            if self._may_put(put):
                reasons.append({"Code": "None"})
                continue
            reason: Item = {"Code": "ConditionalCheckFailed", "Message": "The conditional request failed"}
            if put.get("ReturnValuesOnConditionCheckFailure") == "ALL_OLD":
                reason["Item"] = self._items[self._key(put["TableName"], put["Item"])]
            reasons.append(reason)
        if any(reason["Code"] != "None" for reason in reasons):
            raise StubError("TransactionCanceledException", Message="cancelled", CancellationReasons=reasons)
        for put in puts:
            self._store(put["TableName"], put["Item"])
        self._tokens[token] = content
        return {}

    def _may_put(self, put: Item) -> bool:
        stored = self._items.get(self._key(put["TableName"], put["Item"]))
        condition = put.get("ConditionExpression")
        if condition is None or stored is None:
            return True
        if " OR expiration <= :now" in condition:
            return int(stored["expiration"]["N"]) <= int(put["ExpressionAttributeValues"][":now"]["N"])
        return False

    def _query(self, request: Item) -> Item:
        customer = request["ExpressionAttributeValues"][":customer"]["S"]
        table = request["TableName"]
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
            item = self._items[table, customer, key]
            page.append(item)
            size += len(json.dumps(item))
            if size > _PAGE_BYTES:
                break
        answer: Item = {"Items": page, "Count": len(page), "ScannedCount": len(page)}
        if page and len(page) < len(keys):
            answer["LastEvaluatedKey"] = {
                name: page[-1][name] for name in ("customerIdentifier", "create_timestamp")
            }
        return answer

    def _store(self, table: str, item: Item) -> None:
        key = self._key(table, item)
        if key not in self._items:
            insort(self._sort_keys[key[:2]], key[2])
        self._items[key] = item

    @staticmethod
    def _key(table: str, item: Item) -> tuple[str, str, int]:
        if "id" in item:
            return table, item["id"]["S"], 0
        return table, item["customerIdentifier"]["S"], int(item["create_timestamp"]["N"])


async def serve(tables: Tables) -> asyncio.Server:
    """Listen on a free port of the loopback address.

    Parameters
    ----------
    tables : Tables
        What is served.
    """

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
                headers = dict(line.split(": ", 1) for line in head[1:] if line)
                body = await reader.readexactly(int(headers["content-length"]))
                operation = headers["x-amz-target"].partition(".")[2]
                # Header values were put into lower case with their names.
                name = next(known for known in _OPERATIONS if known.lower() == operation)
                await asyncio.sleep(LATENCY_SECONDS)
                status, document = _answer(tables, name, json.loads(body))
                content = json.dumps(document).encode()
                writer.write(
                    f"HTTP/1.1 {status} \r\nContent-Type: application/x-amz-json-1.0\r\n"
                    f"Content-Length: {len(content)}\r\n\r\n".encode()
                    + content
                )
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    return await asyncio.start_server(connected, "127.0.0.1", 0, limit=2**20)


_OPERATIONS = ("TransactWriteItems", "BatchWriteItem", "PutItem", "Query")


def _answer(tables: Tables, operation: str, request: Item) -> tuple[int, Item]:
    try:
        return 200, tables.answer(operation, request)
    except StubError as error:
        return 400, {"__type": f"com.amazonaws.dynamodb.v20120810#{error.code}", **error.members}


async def _main() -> None:
    server = await serve(Tables())
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(_main())
