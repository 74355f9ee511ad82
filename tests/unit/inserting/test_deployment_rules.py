"""What a deployment may refuse: dimensions, kinds of identifier, customers without a subscription."""

import json
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from metering_handlers.contract.identifiers import IdentifierKind
from metering_handlers.contract.limits import MAX_QUANTITY
from metering_handlers.inserting import insertion, known_dimensions, subscribers
from metering_handlers.inserting.known_dimensions import MAX_SUGGESTIONS, load
from metering_handlers.inserting.subscribers import REMEMBERED_MS, Subscribers
from tests.environment import create_table
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import (
    THREE_CHUNKS,
    WITH_IDS,
    WITHOUT_IDS,
    Call,
    Calls,
    Deploy,
    client_error,
)
from tests.unit.lambda_calls import DRY_RUN, KEY, LICENSE_ARN, Api, Body, buyer, buyers, usage

IDENTIFIERS = {
    "ExWoL3vTir2": IdentifierKind.LEGACY,
    "123456789012": IdentifierKind.ACCOUNT_ID,
    LICENSE_ARN: IdentifierKind.LICENSE_ARN,
    "arn:aws-eusc:license-manager:eusc-de-east-1:123456789012:license:l-1": IdentifierKind.LICENSE_ARN,
    "arn:aws:iam::123456789012:root": IdentifierKind.LEGACY,
}
TABLE = "AWSMarketplaceSubscribers"


class TestKnownDimensions:
    """Dimensions that the product does not have."""

    @pytest.fixture(autouse=True)
    def product(self, deploy: Deploy) -> None:
        """A product of as many and as long names as the deployment is to take."""
        names = [f"product_dimension_{number:03d}_{'x' * 38}" for number in range(199)]
        deploy(dimensions=frozenset({*names, "metered_1_id"}))

    def test_an_unknown_one_is_refused_with_the_nearest_name(self, api: Api, stored: StoredItems) -> None:
        answer = api.insert_one("c", usage(metered_id_1=1, metered_1_id=1, storage=1))

        assert answer.refusal == (
            422,
            {(f"/metered_dimensions/{position}/dimension_name", "unknown_dimension") for position in (0, 2)},
        )
        details = [error["detail"].partition(";")[2] for error in answer.body["errors"]]
        assert details == [" did you mean metered_1_id?", ""]
        assert stored.all() == []

    def test_unknown_ones_are_reported_with_other_violations(self, api: Api) -> None:
        entries = [
            buyer("c", metered_1_id=MAX_QUANTITY),
            buyer("c", metered_1_id=1, nope=1),
            buyer("d", metered_1_id=1),
            buyer("e", other=1),
        ]

        assert api.insert_many(buyers(*entries)).refusal == (
            422,
            {
                ("/buyers/1/metered_dimensions/0/dimension_value", "sum_too_large"),
                ("/buyers/1/metered_dimensions/1/dimension_name", "unknown_dimension"),
                ("/buyers/3/metered_dimensions/0/dimension_name", "unknown_dimension"),
            },
        )

    def test_only_the_first_few_get_a_suggestion(self, api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
        """Each takes milliseconds, and the answer has to be in time."""
        look_up = Mock(return_value=["near"])
        monkeypatch.setattr(known_dimensions, "get_close_matches", look_up)
        names = [f"m{number}" for number in range(100, 500)] * 2

        answer = api.insert_many(buyers(*(buyer(name, **{name: 1}) for name in names)))

        assert [call.args[0] for call in look_up.call_args_list] == names[:MAX_SUGGESTIONS]
        hinted = [number for number, error in enumerate(answer.body["errors"]) if "near" in error["detail"]]
        assert hinted == [*range(MAX_SUGGESTIONS), *range(400, 400 + MAX_SUGGESTIONS)]

    def test_known_ones_are_accepted_and_without_a_list_all(self, api: Api, deploy: Deploy) -> None:
        assert api.insert_one("c", usage(metered_1_id=1)).status == 200
        deploy(dimensions=None)
        assert api.insert_one("c", usage(anything=1)).status == 200

    def test_the_list_is_read_from_the_bundle(self, tmp_path: Path) -> None:
        file = tmp_path / "dimensions.json"
        assert load(file) is None

        file.write_text(json.dumps(["a", "é"]), encoding="utf-8")
        assert load(file) == frozenset({"a", "é"})


@pytest.mark.parametrize("accepted", IdentifierKind)
@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_identifiers_of_other_kinds_are_refused(
    api: Api, stored: StoredItems, deploy: Deploy, identifier: str, accepted: IdentifierKind
) -> None:
    deploy(identifier_kinds=frozenset({accepted}))

    one = api.insert_one(identifier, usage(m=1))
    many = api.insert_many(buyers(buyer(identifier, m=1)), query=DRY_RUN)

    if IDENTIFIERS[identifier] is accepted:
        assert (one.status, many.status) == (200, 200)
    else:
        assert one.refusal == (422, {("/customerIdentifier", "unaccepted_identifier_kind")})
        assert many.refusal == (422, {("/buyers/0/customerIdentifier", "unaccepted_identifier_kind")})
        assert [answer.body["errors"][0]["location"] for answer in (one, many)] == ["path", "body"]
        assert stored.all() == []
    assert api.records(identifier).status == 200, "lists accept every kind"


def test_a_refused_kind_is_named_with_those_accepted(api: Api, deploy: Deploy) -> None:
    deploy(identifier_kinds=frozenset({IdentifierKind.LICENSE_ARN, IdentifierKind.ACCOUNT_ID}))

    detail = api.insert_one("ExWoL3vTir2", usage(m=1)).body["errors"][0]["detail"]

    assert "of the old form" in detail
    assert "send an AWS account id or a License ARN" in detail


def subscribe(table: StoredItems, *customers: str) -> None:
    for customer in customers:
        table.put(customerIdentifier={"S": customer}, productCode={"S": "product"})


def refuse_lookups(api: Api, calls: Calls, code: str) -> None:
    """Let each read of the table of subscribers fail, as time goes by."""

    def read(call: Call, **request: Any) -> object:  # noqa: ANN401
        if TABLE not in request["RequestItems"]:
            return call(**request)
        api.context.remaining_ms -= 1_000
        raise client_error(code)

    calls.on_read = read


class TestSubscribers:
    """Customers are looked up in the table of subscribers."""

    @pytest.fixture(autouse=True)
    def looked_up(self, deploy: Deploy) -> None:
        deploy(subscribers=Subscribers(insertion.tables.client, TABLE))

    @pytest.fixture
    def table(self, dynamodb: DynamoDBClient) -> StoredItems:
        create_table(dynamodb, TABLE, "customerIdentifier")
        table = StoredItems(dynamodb, TABLE)
        subscribe(table, "c", "d")
        return table

    @pytest.mark.usefixtures("table")
    @pytest.mark.parametrize("query", [{}, DRY_RUN], ids=["insert", "dry run"])
    def test_each_entry_of_an_unknown_customer_is_refused(
        self, api: Api, stored: StoredItems, calls: Calls, query: dict[str, str]
    ) -> None:
        entries = [buyer("x", m=1), buyer("c", m=1), buyer("y", "t", m=1), buyer("x", m=1)]

        one = api.insert_one("x", usage(m=1), query=query)
        many = api.insert_many(buyers(*entries), query=query)

        assert one.refusal == (422, {("/customerIdentifier", "unknown_customer")})
        assert many.refusal == (
            422,
            {(f"/buyers/{index}/customerIdentifier", "unknown_customer") for index in (0, 2, 3)},
        )
        assert [*calls.transactions, *stored.all()] == []

    @pytest.mark.usefixtures("table")
    def test_known_customers_are_remembered_for_15_minutes(
        self, api: Api, calls: Calls, dynamodb: DynamoDBClient
    ) -> None:
        both = buyers(buyer("c", m=1), buyer("d", m=1))
        assert api.insert_one("c", usage(m=1)).status == 200
        dynamodb.delete_item(TableName=TABLE, Key={"customerIdentifier": {"S": "c"}})

        api.request_time += REMEMBERED_MS
        assert api.insert_many(both).status == 200
        assert calls.log == ["read", "write", "read", "write"], "d is looked up"
        api.request_time += 1
        assert api.insert_many(both).refusal == (422, {("/buyers/0/customerIdentifier", "unknown_customer")})

    def test_unknown_customers_are_not_remembered(self, api: Api, table: StoredItems) -> None:
        assert api.insert_one("x", usage(m=1)).status == 422
        subscribe(table, "x")
        assert api.insert_one("x", usage(m=1)).status == 200

    def test_only_the_key_is_read_of_100_customers_a_call(
        self, api: Api, calls: Calls, table: StoredItems, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subscribers, "READ_PARALLELISM", 1)  # moto is not thread-safe
        customers = [f"c{number}" for number in range(250)]
        subscribe(table, *customers)

        assert api.insert_many(buyers(*(buyer(customer, m=1) for customer in customers * 2))).status == 200

        assert [len(request["Keys"]) for request in calls.reads] == [100, 100, 50]
        assert all(request["ProjectionExpression"] == "customerIdentifier" for request in calls.reads)
        assert not any(request["ConsistentRead"] for request in calls.reads)

    @pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", None])
    def test_a_table_that_cannot_be_read_is_a_503(
        self, api: Api, stored: StoredItems, calls: Calls, caplog: pytest.LogCaptureFixture, code: str | None
    ) -> None:
        """Throttled, forbidden, or missing: usage is never accepted without the check."""
        if code:
            refuse_lookups(api, calls, code)

        answer = api.insert_one("c", usage(m=1), KEY)

        assert (answer.problem, answer.headers["Retry-After"]) == ((503, "unavailable"), "5")
        assert [*calls.transactions, *stored.all()] == []
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]

    @pytest.mark.usefixtures("small_chunks")
    @pytest.mark.parametrize("code", ["ThrottlingException", None])
    def test_a_half_written_request_is_completed_without_the_table(
        self, api: Api, calls: Calls, deploy: Deploy, code: str | None
    ) -> None:
        """Missing, or throttled until half of the time is over."""
        looked_up = insertion.rules.subscribers
        deploy(subscribers=None)
        calls.cut_off(THREE_CHUNKS, KEY)
        deploy(subscribers=looked_up)
        if code:
            refuse_lookups(api, calls, code)

        assert api.insert_many(THREE_CHUNKS, KEY).status == 200
        assert api.insert_many(THREE_CHUNKS, {"Idempotency-Key": "another"}).status == 503

    def test_other_violations_cost_no_lookup(self, api: Api, calls: Calls, deploy: Deploy) -> None:
        deploy(dimensions=frozenset({"n"}))

        assert api.insert_one("c", usage(m=1)).status == 422
        assert calls.log == []


@pytest.mark.usefixtures("small_chunks", "half_written")
class TestChangedDeployment:
    """What the deployment accepts changes between a 503 and its resume."""

    @pytest.fixture(params=["unknown_dimension", "unaccepted_identifier_kind", "unknown_customer"])
    def half_written(
        self, request: pytest.FixtureRequest, dynamodb: DynamoDBClient, calls: Calls, deploy: Deploy
    ) -> str:
        calls.cut_off(THREE_CHUNKS, KEY)
        create_table(dynamodb, TABLE, "customerIdentifier")
        rules: dict[str, dict[str, object]] = {
            "unknown_dimension": {"dimensions": frozenset({"other"})},
            "unaccepted_identifier_kind": {"identifier_kinds": frozenset({IdentifierKind.ACCOUNT_ID})},
            "unknown_customer": {"subscribers": Subscribers(insertion.tables.client, TABLE)},
        }
        code: str = request.param
        deploy(**rules[code])
        return code

    def test_the_resume_goes_on(self, api: Api, stored: StoredItems) -> None:
        assert api.insert_many(THREE_CHUNKS, KEY, query=DRY_RUN).body["records"] == 6
        assert api.insert_many(THREE_CHUNKS, KEY).status == 200
        assert api.insert_many(THREE_CHUNKS, KEY).is_replay
        assert len(stored.all()) == 8

    @pytest.mark.parametrize(
        ("entries", "headers", "hours"),
        [
            (WITHOUT_IDS, {}, 0),
            (WITHOUT_IDS, {"Idempotency-Key": "another"}, 0),
            (WITHOUT_IDS[:7], KEY, 0),
            (WITH_IDS, {}, 0),
            (WITHOUT_IDS, KEY, 26),
        ],
        ids=["no key", "another key", "other entries", "ids", "too late"],
    )
    def test_another_request_is_refused(
        self, api: Api, half_written: str, entries: list[Body], headers: dict[str, str], hours: int
    ) -> None:
        api.request_time += hours * 3_600_000

        status, violations = api.insert_many(buyers(*entries), headers).refusal

        assert (status, {code for _, code in violations}) == (422, {half_written})

    def test_a_resume_that_breaks_a_rule_is_refused(self, api: Api, half_written: str) -> None:
        answer = api.insert_many(buyers(*WITHOUT_IDS, *[buyer("c1", "t", m=1)] * 2), KEY)

        assert {code for _, code in answer.refusal[1]} == {"duplicate_transaction_id", half_written}
