"""What a deployment may refuse: dimensions, kinds of identifier, customers without a subscription."""

from typing import TYPE_CHECKING, Any

import pytest
from botocore.exceptions import ClientError

from metering_handlers.contract.identifiers import IdentifierKind
from metering_handlers.inserting import insertion, subscribers
from metering_handlers.inserting.subscribers import REMEMBERED_MS, Subscribers
from tests.unit.conftest import StoredItems
from tests.unit.inserting.conftest import Calls, Deploy
from tests.unit.lambda_calls import Api, buyer, buyers, usage

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient

LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
IDENTIFIERS = {
    "ExWoL3vTir2": IdentifierKind.LEGACY,
    "123456789012": IdentifierKind.ACCOUNT_ID,
    LICENSE_ARN: IdentifierKind.LICENSE_ARN,
    "arn:aws-eusc:license-manager:eusc-de-east-1:123456789012:license:l-1": IdentifierKind.LICENSE_ARN,
    "arn:aws:iam::123456789012:root": IdentifierKind.LEGACY,
}
KEY = {"Idempotency-Key": "order 66"}
TABLE = "AWSMarketplaceSubscribers"


@pytest.mark.parametrize("accepted", IdentifierKind)
@pytest.mark.parametrize("identifier", IDENTIFIERS)
def test_identifiers_of_other_kinds_are_refused(
    api: Api, stored: StoredItems, deploy: Deploy, identifier: str, accepted: IdentifierKind
) -> None:
    deploy(identifier_kinds=frozenset({accepted}))

    one = api.insert_one(identifier, usage(m=1))
    many = api.insert_many(buyers(buyer(identifier, m=1)), query={"dry_run": "true"})

    if IDENTIFIERS[identifier] is accepted:
        assert (one.status, many.status) == (200, 200)
    else:
        assert one.problem_codes() == {("/customerIdentifier", "unaccepted_identifier_kind")}
        assert many.problem_codes() == {("/buyers/0/customerIdentifier", "unaccepted_identifier_kind")}
        assert stored.all() == []
    assert api.records(identifier).status == 200, "lists accept every kind"


def test_a_refused_kind_is_named_with_those_accepted(api: Api, deploy: Deploy) -> None:
    deploy(identifier_kinds=frozenset({IdentifierKind.LICENSE_ARN, IdentifierKind.ACCOUNT_ID}))

    (error,) = api.insert_one("ExWoL3vTir2", usage(m=1)).body["errors"]

    assert error["location"] == "path"
    assert error["detail"] == (
        "is a customer identifier of the old form, which this deployment does not accept; "
        "send an AWS account id or a License ARN"
    )


class Table(StoredItems):
    """The quickstart's table of subscribers."""

    def __init__(self, client: "DynamoDBClient", *customers: str) -> None:
        super().__init__(client, TABLE)
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": "customerIdentifier", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "customerIdentifier", "KeyType": "HASH"}],
        )
        for customer in customers:
            self.add(customer)

    def add(self, customer: str) -> None:
        self.put(customerIdentifier={"S": customer}, productCode={"S": "product"})


class TestSubscribers:
    """Customers are looked up in the table of subscribers."""

    @pytest.fixture(autouse=True)
    def looked_up(self, deploy: Deploy) -> None:
        deploy(subscribers=Subscribers(insertion.tables.client, TABLE))

    @pytest.fixture
    def table(self, dynamodb: "DynamoDBClient") -> Table:
        return Table(dynamodb, "c", "d")

    @pytest.mark.usefixtures("table")
    @pytest.mark.parametrize("query", [{}, {"dry_run": "true"}], ids=["insert", "dry run"])
    def test_each_entry_of_an_unknown_customer_is_refused(
        self, api: Api, stored: StoredItems, calls: Calls, query: dict[str, str]
    ) -> None:
        one = api.insert_one("x", usage(m=1), query=query)
        many = api.insert_many(
            buyers(buyer("x", m=1), buyer("c", m=1), buyer("y", "t", m=1), buyer("x", m=1)), query=query
        )

        assert (one.status, one.problem_codes()) == (422, {("/customerIdentifier", "unknown_customer")})
        assert many.status == 422
        assert many.problem_codes() == {
            (f"/buyers/{index}/customerIdentifier", "unknown_customer") for index in (0, 2, 3)
        }
        assert one.body["errors"][0]["location"] == "path"
        assert [*calls.transactions, *stored.all()] == []

    @pytest.mark.usefixtures("table")
    def test_known_customers_are_remembered_for_15_minutes(
        self, api: Api, calls: Calls, dynamodb: "DynamoDBClient"
    ) -> None:
        both = buyers(buyer("c", m=1), buyer("d", m=1))
        assert api.insert_one("c", usage(m=1)).status == 200
        dynamodb.delete_item(TableName=TABLE, Key={"customerIdentifier": {"S": "c"}})

        api.request_time += REMEMBERED_MS
        assert api.insert_many(both).status == 200
        assert calls.log == ["read", "write", "read", "write"], "d is looked up"
        api.request_time += 1
        assert api.insert_many(both).problem_codes() == {("/buyers/0/customerIdentifier", "unknown_customer")}

    def test_unknown_customers_are_not_remembered(self, api: Api, table: Table) -> None:
        assert api.insert_one("x", usage(m=1)).status == 422
        table.add("x")

        assert api.insert_one("x", usage(m=1)).status == 200

    def test_only_the_key_is_read_of_100_customers_a_call(
        self, api: Api, calls: Calls, table: Table, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(subscribers, "READ_PARALLELISM", 1)  # moto is not thread-safe
        for number in range(250):
            table.add(f"c{number}")
        reads: list[dict[str, Any]] = []

        def read(call: Any, **request: Any) -> object:  # noqa: ANN401
            reads.append(request["RequestItems"][TABLE])
            return call(**request)

        calls.on_read = read

        assert (
            api.insert_many(buyers(*(buyer(f"c{number % 250}", m=1) for number in range(500)))).status == 200
        )

        assert [len(request["Keys"]) for request in reads] == [100, 100, 50]
        assert all(request["ProjectionExpression"] == "customerIdentifier" for request in reads)
        assert not any(request["ConsistentRead"] for request in reads)

    @pytest.mark.parametrize("code", ["ThrottlingException", "AccessDeniedException", None])
    def test_a_table_that_cannot_be_read_is_a_503(
        self,
        api: Api,
        stored: StoredItems,
        calls: Calls,
        caplog: pytest.LogCaptureFixture,
        code: str | None,
    ) -> None:
        """Throttled, forbidden, or missing: usage is never accepted without the check."""

        def refuse(call: Any, **request: Any) -> object:  # noqa: ANN401
            if code is None or TABLE not in request["RequestItems"]:
                return call(**request)
            api.context.remaining_ms -= 1_000
            raise ClientError({"Error": {"Code": code, "Message": ""}}, "BatchGetItem")

        calls.on_read = refuse

        answer = api.insert_one("c", usage(m=1), KEY)

        assert (answer.status, answer.body["type"]) == (503, "urn:marketplace-metering:problem:unavailable")
        assert answer.headers["Retry-After"] == "5"
        assert [*calls.transactions, *stored.all()] == []
        assert [record.levelname for record in caplog.records] == ["ERROR", "INFO"]

    @pytest.mark.usefixtures("small_chunks")
    def test_a_half_written_request_is_completed_without_the_table(
        self, api: Api, calls: Calls, deploy: Deploy
    ) -> None:
        body = buyers(*(buyer(f"c{number}", m=1) for number in range(8)))
        looked_up = insertion.rules.subscribers
        deploy(subscribers=None)
        calls.cut_off(body, KEY)
        deploy(subscribers=looked_up)

        assert api.insert_many(body, {"Idempotency-Key": "another"}).status == 503
        assert api.insert_many(body, KEY).status == 200

    def test_other_violations_cost_no_lookup(self, api: Api, calls: Calls, deploy: Deploy) -> None:
        deploy(dimensions=frozenset({"n"}))

        assert api.insert_one("c", usage(m=1)).status == 422
        assert calls.log == []


@pytest.mark.usefixtures("small_chunks", "half_written")
class TestChangedDeployment:
    """What the deployment accepts changes between a 503 and its resume."""

    WITHOUT_IDS = tuple(buyer(f"c{number}", m=number) for number in range(8))
    WITH_IDS = tuple(buyer(f"c{number}", f"t{number}", m=number) for number in range(8))

    @pytest.fixture(params=["unknown_dimension", "unaccepted_identifier_kind", "unknown_customer"])
    def half_written(
        self, request: pytest.FixtureRequest, dynamodb: "DynamoDBClient", calls: Calls, deploy: Deploy
    ) -> str:
        calls.cut_off(buyers(*self.WITHOUT_IDS), KEY)
        Table(dynamodb)
        rules: dict[str, dict[str, object]] = {
            "unknown_dimension": {"dimensions": frozenset({"other"})},
            "unaccepted_identifier_kind": {"identifier_kinds": frozenset({IdentifierKind.ACCOUNT_ID})},
            "unknown_customer": {"subscribers": Subscribers(insertion.tables.client, TABLE)},
        }
        code: str = request.param
        deploy(**rules[code])
        return code

    def test_the_resume_goes_on(self, api: Api, stored: StoredItems) -> None:
        body = buyers(*self.WITHOUT_IDS)
        assert api.insert_many(body, KEY, query={"dry_run": "true"}).body["records"] == 6
        assert api.insert_many(body, KEY).status == 200
        assert api.insert_many(body, KEY).is_replay
        assert len(stored.all()) == 8

    @pytest.mark.parametrize(
        ("entries", "key", "hours"),
        [
            (WITHOUT_IDS, None, 0),
            (WITHOUT_IDS, "another", 0),
            (WITHOUT_IDS[:7], "order 66", 0),
            (WITH_IDS, None, 0),
            (WITHOUT_IDS, "order 66", 26),
        ],
        ids=["no key", "another key", "other entries", "ids", "too late"],
    )
    def test_another_request_is_refused(  # noqa: PLR0917
        self,
        api: Api,
        stored: StoredItems,
        half_written: str,
        entries: list[dict[str, object]],
        key: str | None,
        hours: int,
    ) -> None:
        api.request_time += hours * 3_600_000

        answer = api.insert_many(buyers(*entries), {"Idempotency-Key": key} if key else {})

        assert answer.status == 422
        assert {code for _, code in answer.problem_codes()} == {half_written}
        assert len(stored.all()) == 2

    def test_a_resume_that_breaks_a_rule_is_refused(self, api: Api, half_written: str) -> None:
        answer = api.insert_many(buyers(*self.WITHOUT_IDS, *[buyer("c1", "t", m=1)] * 2), KEY)

        codes = {code for _, code in answer.problem_codes()}
        assert codes == {"duplicate_transaction_id", half_written}
