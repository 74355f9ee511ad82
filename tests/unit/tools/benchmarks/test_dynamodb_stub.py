"""The stub that the benchmarks measure against answers as DynamoDB does."""

from typing import Any

import pytest

from tools.benchmarks.dynamodb_stub import StubError, Tables, WriteLimits

Item = dict[str, Any]


def put(customer: str, timestamp: int, **attributes: object) -> Item:
    return {
        "Put": {
            "TableName": "records",
            "Item": {
                "customerIdentifier": {"S": customer},
                "create_timestamp": {"N": str(timestamp)},
                **attributes,
            },
            "ConditionExpression": "attribute_not_exists(customerIdentifier)",
        }
    }


def put_row(expires_at: int, before: int) -> Item:
    return {
        "Put": {
            "TableName": "rows",
            "Item": {"id": {"S": "key#0"}, "expires_at": {"N": str(expires_at)}},
            "ConditionExpression": "attribute_not_exists(id) OR expires_at < :before",
            "ExpressionAttributeValues": {":before": {"N": str(before)}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def transact(tables: Tables, token: str, *actions: Item) -> list[Any]:
    """Write a transaction; return the reasons of its cancellation, if it is cancelled."""
    request = {"ClientRequestToken": token, "TransactItems": list(actions)}
    try:
        assert tables.answer("TransactWriteItems", request) == {}
    except StubError as error:
        if error.code != "TransactionCanceledException":
            raise
        reasons: Any = error.members["CancellationReasons"]
        return list(reasons)
    return []


def codes(reasons: list[Any]) -> list[str]:
    return [reason["Code"] for reason in reasons]


def query(tables: Tables, **request: object) -> Item:
    values = {":customer": {"S": "c"}}
    return tables.answer("Query", {"TableName": "records", "ExpressionAttributeValues": values, **request})


def timestamps(page: Item) -> list[int]:
    return [int(item["create_timestamp"]["N"]) for item in page["Items"]]


def test_a_transaction_that_meets_a_taken_key_says_which_and_writes_none() -> None:
    tables = Tables()
    transact(tables, "1", put("c", 1))

    reasons = transact(tables, "2", put("c", 2), put("c", 1))

    assert codes(reasons) == ["None", "ConditionalCheckFailed"]
    assert timestamps(query(tables)) == [1]


def test_a_repeated_token_writes_nothing_and_succeeds() -> None:
    tables = Tables()

    assert transact(tables, "1", put("c", 1)) == transact(tables, "1", put("c", 1)) == []

    with pytest.raises(StubError, match="IdempotentParameterMismatchException"):
        transact(tables, "1", put("c", 2))


def test_a_row_that_counts_is_returned_and_an_expired_one_replaced() -> None:
    tables = Tables()
    transact(tables, "1", put_row(expires_at=100, before=10))

    (reason,) = transact(tables, "2", put_row(expires_at=200, before=100))

    assert reason["Item"]["expires_at"] == {"N": "100"}
    assert transact(tables, "3", put_row(expires_at=200, before=101)) == []


@pytest.mark.parametrize(("forward", "expected"), [(True, [1, 2, 3, 4, 5]), (False, [5, 4, 3, 2, 1])])
def test_a_query_is_paged_in_order(forward: bool, expected: list[int]) -> None:
    tables = Tables()
    transact(tables, "1", *(put("c", timestamp) for timestamp in (3, 1, 5, 2, 4)))

    seen: list[int] = []
    start: dict[str, object] = {}
    while True:
        page = query(tables, Limit=2, ScanIndexForward=forward, **start)
        seen += timestamps(page)
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    assert seen == expected


def test_a_batch_read_leaves_out_what_is_not_there_and_takes_100_keys() -> None:
    tables = Tables()
    row = put_row(expires_at=100, before=10)
    transact(tables, "1", row)
    keys = [{"id": {"S": f"key#{number}"}} for number in range(101)]

    answer = tables.answer("BatchGetItem", {"RequestItems": {"rows": {"Keys": keys[:100]}}})

    assert answer == {"Responses": {"rows": [row["Put"]["Item"]]}, "UnprocessedKeys": {}}
    with pytest.raises(StubError, match="ValidationException"):
        tables.answer("BatchGetItem", {"RequestItems": {"rows": {"Keys": keys}}})


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_index_takes_1000_units_a_second_of_all_customers_together() -> None:
    clock = Clock()
    tables = Tables(WriteLimits(clock))
    pending = {"S": "true"}
    assert transact(tables, "first", put("c", 0, metering_pending=pending))

    written = 0
    for attempt in range(6_000):
        clock.now = attempt // 3 / 1_000
        reasons = transact(tables, str(attempt), put(f"c{attempt}", 0, metering_pending=pending))
        assert codes(reasons) in ([], ["ThrottlingError"])
        written += not reasons

    assert 1_990 <= written <= 2_010


def test_a_cancelled_transaction_uses_up_what_it_has_prepared() -> None:
    clock = Clock()
    tables = Tables(WriteLimits(clock))
    puts = [put("c", number) for number in range(100)]

    is_cancelled = []
    for clock.now in (0, 0.05, 0.1, 0.25):
        is_cancelled.append(bool(transact(tables, str(clock.now), *puts)))

    # After 0.1 s there would be 100 units, had the second try not used up what there was.
    assert is_cancelled == [True, True, True, False]
