"""What a deployment may refuse: dimensions, kinds of identifier, customers without a subscription."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers.contract.identifiers import IdentifierKind
from metering_handlers.inserting import insertion, known_dimensions, subscribers
from metering_handlers.inserting.subscribers import Subscribers
from tests.environment import create_table
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import THREE_CHUNKS, WITH_IDS, WITHOUT_IDS, Call, Calls, Deploy, failing
from tests.unit.lambda_calls import DRY_RUN, KEY, LICENSE_ARN, Api, buyer, buyers, usage

IDENTIFIERS = {
    "ExWoL3vTir2": IdentifierKind.LEGACY,
    "123456789012": IdentifierKind.ACCOUNT_ID,
    LICENSE_ARN: IdentifierKind.LICENSE_ARN,
    "arn:aws-eusc:license-manager:eusc-de-east-1:123456789012:license:l-1": IdentifierKind.LICENSE_ARN,
    "arn:aws:iam::123456789012:root": IdentifierKind.LEGACY,
}
TABLE = "AWSMarketplaceSubscribers"
# A product of as many and as long names as the deployment is to take.
PRODUCT = frozenset(
    {*(f"product_dimension_{number:03d}_{'x' * 38}" for number in range(199)), "metered_1_id"}
)


def test_unknown_dimensions_are_refused_with_the_nearest_name(
    api: Api, stored: StoredItems, deploy: Deploy
) -> None:
    assert api.insert_one("c", usage(anything=1)).status == 200
    deploy(dimensions=PRODUCT)
    assert api.insert_one("c", usage(metered_1_id=1)).status == 200
    sum_too_large = [buyer("c", metered_1_id=2**31 - 1), buyer("c", metered_1_id=1)]

    answer = api.insert_many(buyers(*sum_too_large, buyer("d", metered_id_1=1, metered_1_id=1, storage=1)))

    assert answer.refusal == (
        422,
        {
            ("/buyers/1/metered_dimensions/0/dimension_value", "sum_too_large"),
            ("/buyers/2/metered_dimensions/0/dimension_name", "unknown_dimension"),
            ("/buyers/2/metered_dimensions/2/dimension_name", "unknown_dimension"),
        },
    )
    details = [error["detail"].partition(";")[2] for error in answer.body["errors"][1:]]
    assert details == [" did you mean metered_1_id?", ""]
    assert len(stored.all()) == 2


def test_only_the_first_few_get_a_suggestion(
    api: Api, deploy: Deploy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each takes milliseconds, and the answer has to be in time."""
    deploy(dimensions=PRODUCT)
    look_up = Mock(return_value=["near"])
    monkeypatch.setattr(known_dimensions, "get_close_matches", look_up)
    names = [f"m{number}" for number in range(100, 500)] * 2

    answer = api.insert_many(buyers(*(buyer(name, **{name: 1}) for name in names)))

    assert [call.args[0] for call in look_up.call_args_list] == names[:10]
    hinted = [number for number, error in enumerate(answer.body["errors"]) if "near" in error["detail"]]
    assert hinted == [*range(10), *range(400, 410)]


def test_the_list_is_read_from_the_bundle(tmp_path: Path) -> None:
    file = tmp_path / "dimensions.json"
    assert known_dimensions.load(file) is None

    file.write_text(json.dumps(["a", "é"]), encoding="utf-8")
    assert known_dimensions.load(file) == frozenset({"a", "é"})


@pytest.mark.parametrize(
    ("accepted", "named"),
    [
        ({IdentifierKind.LEGACY}, "send a customer identifier of the old form"),
        ({IdentifierKind.LICENSE_ARN, IdentifierKind.ACCOUNT_ID}, "send an AWS account id or a License ARN"),
    ],
)
def test_identifiers_of_other_kinds_are_refused(
    api: Api, stored: StoredItems, deploy: Deploy, accepted: set[IdentifierKind], named: str
) -> None:
    deploy(identifier_kinds=frozenset(accepted))

    many = api.insert_many(buyers(*(buyer(each, m=1) for each in IDENTIFIERS)), query=DRY_RUN)

    refused = [index for index, kind in enumerate(IDENTIFIERS.values()) if kind not in accepted]
    places = {(f"/buyers/{index}/customerIdentifier", "unaccepted_identifier_kind") for index in refused}
    assert many.refusal == (422, places)
    assert all(error["location"] == "body" and named in error["detail"] for error in many.body["errors"])
    for identifier, kind in IDENTIFIERS.items():
        one = api.insert_one(identifier, usage(m=1))
        if kind in accepted:
            assert one.body == {}
        else:
            assert one.refusal == (422, {("/customerIdentifier", "unaccepted_identifier_kind")})
            assert one.body["errors"][0]["location"] == "path"
        assert api.records(identifier).status == 200, "lists accept every kind"
    assert len(stored.all()) == len(IDENTIFIERS) - len(refused)


def subscribe(table: StoredItems, *customers: str) -> None:
    for customer in customers:
        table.put(customerIdentifier={"S": customer}, productCode={"S": "product"})


@pytest.fixture
def table(dynamodb: DynamoDBClient, deploy: Deploy) -> StoredItems:
    """The table of subscribers, which the deployment looks customers up in."""
    create_table(dynamodb, TABLE, "customerIdentifier")
    deploy(subscribers=Subscribers(insertion.tables.client, TABLE))
    table = StoredItems(dynamodb, TABLE)
    subscribe(table, "c", "d")
    return table


@pytest.mark.usefixtures("table")
def test_each_entry_of_an_unknown_customer_is_refused(
    api: Api, stored: StoredItems, calls: Calls, deploy: Deploy
) -> None:
    entries = [buyer("x", m=1), buyer("c", m=1), buyer("y", "t", m=1), buyer("x", m=1)]
    places = {(f"/buyers/{index}/customerIdentifier", "unknown_customer") for index in (0, 2, 3)}

    for query in ({}, DRY_RUN):
        one = api.insert_one("x", usage(m=1), query=query)
        assert one.refusal == (422, {("/customerIdentifier", "unknown_customer")})
        assert api.insert_many(buyers(*entries), query=query).refusal == (422, places)
    assert calls.log == ["read"] * 4
    deploy(dimensions=frozenset({"n"}))
    assert api.insert_one("c", usage(m=1)).status == 422
    assert calls.log == ["read"] * 4, "other violations cost no lookup"
    assert stored.all() == []


def test_only_known_customers_are_remembered_for_15_minutes(
    api: Api, calls: Calls, table: StoredItems
) -> None:
    both = buyers(buyer("c", m=1), buyer("d", m=1))
    assert api.insert_one("x", usage(m=1)).status == 422
    subscribe(table, "x")
    assert api.insert_one("x", usage(m=1)).status == 200
    assert api.insert_one("c", usage(m=1)).status == 200
    table.delete(customerIdentifier={"S": "c"})
    calls.clear()

    api.request_time += 15 * 60_000
    assert api.insert_many(both).status == 200
    assert calls.log == ["read", "write"], "d is looked up"
    api.request_time += 1
    assert api.insert_many(both).refusal == (422, {("/buyers/0/customerIdentifier", "unknown_customer")})


def test_only_the_key_is_read_of_100_customers_a_call(
    api: Api, calls: Calls, table: StoredItems, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subscribers, "READ_PARALLELISM", 1)  # moto is not thread-safe
    customers = [f"c{number}" for number in range(250)]
    subscribe(table, *customers)

    answer = api.insert_many(buyers(*(buyer(each, m=1) for each in customers * 2)), query=DRY_RUN)

    assert answer.body["records"] == 250
    reads = [request["RequestItems"][TABLE] for request in calls.reads[:3]]
    assert [len(read["Keys"]) for read in reads] == [100, 100, 50]
    for read in reads:
        assert (read["ProjectionExpression"], read["ConsistentRead"]) == ("customerIdentifier", False)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", None])
def test_without_the_table_only_half_written_requests_are_stored(
    api: Api, calls: Calls, deploy: Deploy, caplog: pytest.LogCaptureFixture, code: str | None
) -> None:
    """Throttled until half of the time is over, forbidden, or missing."""

    def read(call: Call, **request: Any) -> object:  # noqa: ANN401
        return (failing(code, api) if code and TABLE in request["RequestItems"] else call)(**request)

    calls.cut_off(THREE_CHUNKS, KEY)
    deploy(subscribers=Subscribers(insertion.tables.client, TABLE))
    calls.on_read = read

    assert api.insert_many(THREE_CHUNKS, KEY).body == {}
    caplog.clear()
    calls.clear()
    answer = api.insert_one("c", usage(m=1), {"Idempotency-Key": "another"})

    assert (answer.problem, answer.headers["Retry-After"]) == ((503, "unavailable"), "5")
    assert calls.transactions == []
    assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("refused", ["unknown_dimension", "unaccepted_identifier_kind", "unknown_customer"])
def test_a_changed_deployment_strands_no_half_written_request(
    api: Api, dynamodb: DynamoDBClient, calls: Calls, deploy: Deploy, refused: str
) -> None:
    """What it accepts changes between a 503 and its resume; all other requests are refused."""
    calls.cut_off(THREE_CHUNKS, KEY)
    create_table(dynamodb, TABLE, "customerIdentifier")
    rules: dict[str, dict[str, object]] = {
        "unknown_dimension": {"dimensions": frozenset({"other"})},
        "unaccepted_identifier_kind": {"identifier_kinds": frozenset({IdentifierKind.ACCOUNT_ID})},
        "unknown_customer": {"subscribers": Subscribers(insertion.tables.client, TABLE)},
    }
    deploy(**rules[refused])

    for entries, headers, codes in [
        (WITHOUT_IDS, {"Idempotency-Key": "another"}, {refused}),
        (WITHOUT_IDS[:7], KEY, {refused}),
        (WITH_IDS, {}, {refused}),
        ([*WITHOUT_IDS, *WITH_IDS[1:2] * 2], KEY, {refused, "duplicate_transaction_id"}),
    ]:
        status, violations = api.insert_many(buyers(*entries), headers).refusal
        assert (status, {code for _, code in violations}) == (422, codes)
    assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 6
    assert api.insert_many(THREE_CHUNKS, KEY).body == {}
    assert api.insert_many(THREE_CHUNKS, KEY).is_replay
    api.request_time += 26 * 3_600_000
    assert {code for _, code in api.insert_many(THREE_CHUNKS, KEY).refusal[1]} == {refused}
