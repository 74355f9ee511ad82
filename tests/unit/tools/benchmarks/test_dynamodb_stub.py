"""The stub that the benchmarks measure against answers as DynamoDB does."""

from typing import Any

import pytest

from tools.benchmarks.dynamodb_stub import StubError, Tables, WriteLimits


def record(customer: str, timestamp: int) -> dict[str, Any]:
    return {"customerIdentifier": {"S": customer}, "create_timestamp": {"N": str(timestamp)}}


def put(item: dict[str, Any]) -> dict[str, Any]:
    return {
        "Put": {
            "TableName": "records",
            "Item": item,
            "ConditionExpression": "attribute_not_exists(customerIdentifier)",
        }
    }


def put_row(expires_at: int, before: int) -> dict[str, Any]:
    return {
        "Put": {
            "TableName": "rows",
            "Item": {"id": {"S": "key#0"}, "expires_at": {"N": str(expires_at)}},
            "ConditionExpression": "attribute_not_exists(id) OR expires_at < :before",
            "ExpressionAttributeValues": {":before": {"N": str(before)}},
            "ReturnValuesOnConditionCheckFailure": "ALL_OLD",
        }
    }


def transact(tables: Tables, token: str, *actions: dict[str, Any]) -> dict[str, Any]:
    return tables.answer("TransactWriteItems", {"ClientRequestToken": token, "TransactItems": list(actions)})


def query(tables: Tables, **request: object) -> dict[str, Any]:
    values = {":customer": {"S": "c"}}
    return tables.answer("Query", {"TableName": "records", "ExpressionAttributeValues": values, **request})


def timestamps(page: dict[str, Any]) -> list[int]:
    return [int(item["create_timestamp"]["N"]) for item in page["Items"]]


def reasons_of(error: StubError) -> list[dict[str, Any]]:
    reasons = error.members["CancellationReasons"]
    assert isinstance(reasons, list)
    return reasons


def codes_of(error: StubError) -> list[str]:
    return [reason["Code"] for reason in reasons_of(error)]


def test_a_transaction_that_meets_a_taken_key_says_which_and_writes_none() -> None:
    tables = Tables()
    transact(tables, "1", put(record("c", 1)))

    with pytest.raises(StubError) as caught:
        transact(tables, "2", put(record("c", 2)), put(record("c", 1)))

    assert caught.value.code == "TransactionCanceledException"
    assert codes_of(caught.value) == ["None", "ConditionalCheckFailed"]
    assert timestamps(query(tables)) == [1]


def test_a_repeated_token_writes_nothing_and_succeeds() -> None:
    tables = Tables()

    transact(tables, "1", put(record("c", 1)))
    transact(tables, "1", put(record("c", 1)))

    with pytest.raises(StubError, match="IdempotentParameterMismatchException"):
        transact(tables, "1", put(record("c", 2)))


def test_a_row_that_counts_is_returned_and_an_expired_one_replaced() -> None:
    tables = Tables()
    transact(tables, "1", put_row(expires_at=100, before=10))

    with pytest.raises(StubError) as caught:
        transact(tables, "2", put_row(expires_at=200, before=100))
    (reason,) = reasons_of(caught.value)
    assert reason["Item"]["expires_at"] == {"N": "100"}

    transact(tables, "3", put_row(expires_at=200, before=101))


@pytest.mark.parametrize(("forward", "expected"), [(True, [1, 2, 3, 4, 5]), (False, [5, 4, 3, 2, 1])])
def test_a_query_is_paged_in_order(forward: bool, expected: list[int]) -> None:
    tables = Tables()
    transact(tables, "1", *(put(record("c", timestamp)) for timestamp in (3, 1, 5, 2, 4)))

    seen: list[int] = []
    start: dict[str, object] = {}
    while True:
        page = query(tables, Limit=2, ScanIndexForward=forward, **start)
        seen += timestamps(page)
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}

    assert seen == expected


def get(tables: Tables, *ids: str) -> dict[str, Any]:
    keys = [{"id": {"S": row_id}} for row_id in ids]
    return tables.answer("BatchGetItem", {"RequestItems": {"rows": {"Keys": keys}}})


def test_a_batch_read_leaves_out_what_is_not_there() -> None:
    tables = Tables()
    row = put_row(expires_at=100, before=10)
    transact(tables, "1", row)

    assert get(tables, "other#0", "key#0") == {
        "Responses": {"rows": [row["Put"]["Item"]]},
        "UnprocessedKeys": {},
    }


def test_a_batch_read_of_more_than_100_keys_is_refused() -> None:
    with pytest.raises(StubError, match="ValidationException"):
        get(Tables(), *map(str, range(101)))


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def pending(customer: str, timestamp: int) -> dict[str, Any]:
    return put(record(customer, timestamp) | {"metering_pending": {"S": "true"}})


def test_the_index_takes_1000_units_a_second_of_all_customers_together() -> None:
    clock = Clock()
    tables = Tables(WriteLimits(clock))
    written = attempts = 0

    with pytest.raises(StubError, match="TransactionCanceledException"):
        transact(tables, "first", pending("c", 0))
    for millisecond in range(1, 2_001):
        clock.now = millisecond / 1_000
        for _ in range(3):
            attempts += 1
            try:
                transact(tables, str(attempts), pending(f"c{attempts}", 0))
            except StubError as error:
                assert codes_of(error) == ["ThrottlingError"]  # noqa: PT017 - some are to succeed
            else:
                written += 1

    assert 1_990 <= written <= 2_010


def test_a_cancelled_transaction_uses_up_what_it_has_prepared() -> None:
    clock = Clock()
    tables = Tables(WriteLimits(clock))

    def write(seconds: float) -> set[str]:
        clock.now = seconds
        try:
            transact(tables, str(seconds), *(put(record("c", number)) for number in range(100)))
        except StubError as error:
            return set(codes_of(error))
        return set()

    # After 0.1 s there would be 100 units, had the second try not used up what there was.
    assert [bool(write(seconds)) for seconds in (0, 0.05, 0.1, 0.25)] == [True, True, True, False]
