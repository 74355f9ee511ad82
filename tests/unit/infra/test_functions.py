"""The functions: permissions and environment."""

import json
import re
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.unit.infra.stacks import KEY_ARN, PARAMS, REGIONS, properties, synthesize

NAMES = ["InsertMeteringRecord", "InsertMeteringRecords", "ListMeteringRecords"]
TABLE = PARAMS["metering_table_name"]
READ = {"dynamodb:BatchGetItem"}


def functions(template: Template) -> dict[str, dict[str, Any]]:
    """The functions' properties, by name."""
    found = template.find_resources("AWS::Lambda::Function")
    return {name[:-8].removesuffix("Function"): found[name]["Properties"] for name in found}


def statements(template: Template, name: str) -> list[dict[str, Any]]:
    """All that the function's own role allows."""
    role = functions(template)[name]["Role"]["Fn::GetAtt"][0]
    of_role = template.find_resources("AWS::IAM::Role")[role]["Properties"]
    assert of_role.keys() == {"AssumeRolePolicyDocument", "Description"}
    (policy,) = (item for item in properties(template, "IAM::Policy") if item["Roles"] == [{"Ref": role}])
    found: list[dict[str, Any]] = policy["PolicyDocument"]["Statement"]
    return found


def permissions(template: Template, name: str) -> dict[str, set[str]]:
    """The actions by resource: the whole name, so no index and no wildcard."""
    found: dict[str, set[str]] = {}
    for statement in statements(template, name):
        for resource in as_list(statement["Resource"]):
            if "Fn::GetAtt" in resource:
                # Without the hash of the logical id.
                resource_name = resource["Fn::GetAtt"][0][:-8]
            else:
                resource_name = resource["Fn::Join"][1][-1].partition(":table/")[2]
            found.setdefault(resource_name, set()).update(as_list(statement["Action"]))
    return found


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 - of a template
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("with_subscribers", [False, True])
def test_a_function_may_do_only_this(name: str, with_subscribers: bool) -> None:
    """Inserts put records and rows, and read rows; lists read. Nothing updates or deletes."""
    template = synthesize(subscribers_table_name="Subscribers") if with_subscribers else synthesize()
    is_insert = name.startswith("Insert")
    allowed = {
        f"{name}Logs": {"logs:CreateLogStream", "logs:PutLogEvents"},
        TABLE: {"dynamodb:PutItem"} if is_insert else {"dynamodb:Query"},
        "IdempotencyTable": READ | ({"dynamodb:PutItem"} if is_insert else set()),
    }
    if is_insert and with_subscribers:
        allowed["Subscribers"] = READ

    assert permissions(template, name) == allowed


def test_there_are_three_functions_and_no_custom_resources() -> None:
    assert {name: found["Handler"] for name, found in functions(synthesize()).items()} == {
        "InsertMeteringRecord": "metering_handlers.insert_metering_record.lambda_handler",
        "InsertMeteringRecords": "metering_handlers.insert_metering_records.lambda_handler",
        "ListMeteringRecords": "metering_handlers.list_metering_records.lambda_handler",
    }
    assert "Custom::" not in str(synthesize().to_json())


def test_a_function_knows_its_tables_and_settings() -> None:
    (idempotency_table,) = synthesize().find_resources("AWS::DynamoDB::Table")
    usual = {
        "POWERTOOLS_SERVICE_NAME": "cdk-apigw-marketplace-metering-records",
        "POWERTOOLS_METRICS_NAMESPACE": "MarketplaceMetering",
        "METERING_LOG_LEVEL": "INFO",
        "METERING_TABLE_NAME": TABLE,
        "IDEMPOTENCY_TABLE_NAME": {"Ref": idempotency_table},
    }
    of_inserts = {
        "IDEMPOTENCY_HOURS": "24",
        "TRANSACTION_ID_DAYS": "90",
        "CUSTOMER_IDENTIFIERS": "legacy,account_id,license_arn",
    }
    changed = {
        "METERING_LOG_LEVEL": "WARNING",
        "IDEMPOTENCY_HOURS": "48",
        "TRANSACTION_ID_DAYS": "400",
        "CUSTOMER_IDENTIFIERS": "license_arn,account_id",
        "SUBSCRIBERS_TABLE_NAME": "Subscribers",
    }
    kinds = ["license_arn", "account_id"]
    times = {"idempotency_hours": 48, "transaction_id_days": 400}
    template = synthesize(
        log_level="WARNING", customer_identifiers=kinds, subscribers_table_name="Subscribers", **times
    )

    for stack, inserts, lists in (
        (synthesize(), usual | of_inserts, usual),
        (template, usual | changed, usual | {"METERING_LOG_LEVEL": "WARNING"}),
    ):
        found = [functions(stack)[name]["Environment"]["Variables"] for name in NAMES]
        assert found == [inserts, inserts, lists]


@pytest.mark.parametrize(
    ("region", "suffixes"),
    [
        ("us-east-1", ["amazonaws.com"]),
        ("us-gov-west-1", ["amazonaws.com"]),
        ("cn-north-1", ["amazonaws.com", "amazonaws.com.cn"]),
        ("eusc-de-east-1", ["amazonaws.com", "amazonaws.eu"]),
    ],
)
def test_the_tables_key_is_used_through_dynamodb_only(region: str, suffixes: list[str]) -> None:
    template = synthesize(aws_region_name=region, metering_table_kms_key_arn=KEY_ARN)
    services = [f"dynamodb.{region}.{suffix}" for suffix in suffixes]

    for name in NAMES:
        writes = ["kms:Encrypt", "kms:GenerateDataKey"] if name.startswith("Insert") else []
        (statement,) = (item for item in statements(template, name) if item["Resource"] == KEY_ARN)
        assert as_list(statement["Action"]) == ["kms:Decrypt", *writes]
        assert statement["Condition"] == {"StringEquals": {"kms:ViaService": services}}


@pytest.mark.parametrize(("partition", "region"), REGIONS.items())
def test_no_resource_is_of_another_partition(partition: str, region: str) -> None:
    text = json.dumps(synthesize(aws_region_name=region).to_json())

    assert set(re.findall(r"arn:(aws[a-z-]*):", text)) == {partition}
    # In every partition, services are called <service>.amazonaws.com; hosts follow AWS::URLSuffix.
    assert set(re.findall(r"[a-z0-9.-]*amazonaws[a-z.]*", text)) == {
        f"{service}.amazonaws.com" for service in ("apigateway", "cloudwatch", "lambda")
    }
