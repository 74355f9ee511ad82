"""The functions: runtime, permissions, environment, logs."""

import json
import re
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from tests.unit.infra.stacks import KEY_ARN, PARAMS, REGIONS, properties, synthesize

MODULES = ["insert_metering_record", "insert_metering_records", "list_metering_records"]
INSERTS = MODULES[:2]


def function(template: Template, module: str) -> dict[str, Any]:
    (found,) = (
        item
        for item in properties(template, "Lambda::Function")
        if item["Handler"] == f"metering_handlers.{module}.lambda_handler"
    )
    return found


def variables(template: Template, module: str) -> dict[str, Any]:
    found: dict[str, Any] = function(template, module)["Environment"]["Variables"]
    return found


def allowed(template: Template, module: str) -> dict[str, list[dict[str, Any]]]:
    """By service, the statements of the function's own role."""
    role = function(template, module)["Role"]["Fn::GetAtt"][0]
    assert "ManagedPolicyArns" not in template.find_resources("AWS::IAM::Role")[role]["Properties"]
    by_service: dict[str, list[dict[str, Any]]] = {}
    for policy in properties(template, "IAM::Policy"):
        if policy["Roles"] == [{"Ref": role}]:
            for statement in policy["PolicyDocument"]["Statement"]:
                statement["Action"] = as_list(statement["Action"])
                by_service.setdefault(statement["Action"][0].partition(":")[0], []).append(statement)
    return by_service


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 - of a template
    return value if isinstance(value, list) else [value]


def table_actions(template: Template, module: str) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for statement in allowed(template, module)["dynamodb"]:
        for resource in as_list(statement["Resource"]):
            # The whole name: no index, and no wildcard.
            name = (
                "idempotency"
                if "Fn::GetAtt" in resource
                else resource["Fn::Join"][1][-1].partition(":table/")[2]
            )
            found.setdefault(name, set()).update(statement["Action"])
    return found


def test_there_are_three_functions_and_no_custom_resources(template: Template) -> None:
    assert len(properties(template, "Lambda::Function")) == 3
    assert "Custom::" not in str(template.to_json())


@pytest.mark.parametrize("module", MODULES)
def test_a_function_runs_for_less_time_than_api_gateway_waits(template: Template, module: str) -> None:
    found = function(template, module)

    assert (found["Runtime"], found["Architectures"], found["Timeout"]) == ("python3.13", ["arm64"], 27)
    assert "LogGroup" in found["LoggingConfig"]


@pytest.mark.parametrize("module", INSERTS)
def test_an_insert_may_put_into_both_tables_and_read_rows(template: Template, module: str) -> None:
    assert table_actions(template, module) == {
        PARAMS["metering_table_name"]: {"dynamodb:PutItem"},
        "idempotency": {"dynamodb:PutItem", "dynamodb:BatchGetItem"},
    }


def test_the_list_may_query_records_and_read_rows_and_write_nothing(template: Template) -> None:
    assert table_actions(template, "list_metering_records") == {
        PARAMS["metering_table_name"]: {"dynamodb:Query"},
        "idempotency": {"dynamodb:BatchGetItem"},
    }


@pytest.mark.parametrize("module", MODULES)
def test_a_function_may_otherwise_only_write_its_own_log(template: Template, module: str) -> None:
    statements = allowed(template, module)

    assert set(statements) == {"dynamodb", "logs"}
    (statement,) = statements["logs"]
    assert statement["Action"] == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert set(statement["Resource"]) == {"Fn::GetAtt"}


@pytest.mark.parametrize("module", MODULES)
def test_a_function_knows_its_tables(template: Template, module: str) -> None:
    (idempotency_table,) = template.find_resources("AWS::DynamoDB::Table")

    found = variables(template, module)
    assert found["METERING_TABLE_NAME"] == PARAMS["metering_table_name"]
    assert found["IDEMPOTENCY_TABLE_NAME"] == {"Ref": idempotency_table}


@pytest.mark.parametrize("module", INSERTS)
@pytest.mark.parametrize(("hours", "days"), [(24, 90), (48, 400)])
def test_an_insert_knows_how_long_keys_and_ids_last(module: str, hours: int, days: int) -> None:
    found = variables(synthesize(idempotency_hours=hours, transaction_id_days=days), module)

    assert (found["IDEMPOTENCY_HOURS"], found["TRANSACTION_ID_DAYS"]) == (str(hours), str(days))


def test_log_level_and_architecture_are_configured() -> None:
    synthesize(log_level="WARNING", lambda_architecture="x86_64").all_resources_properties(
        "AWS::Lambda::Function",
        {
            "Architectures": ["x86_64"],
            "Environment": {"Variables": Match.object_like({"METERING_LOG_LEVEL": "WARNING"})},
        },
    )


@pytest.mark.parametrize("days", [90, 400])
def test_every_log_group_expires_and_outlives_the_stack(days: int) -> None:
    template = synthesize(log_retention_days=days)

    template.all_resources(
        "AWS::Logs::LogGroup", {"Properties": {"RetentionInDays": days}, "DeletionPolicy": "Retain"}
    )
    template.resource_count_is("AWS::Logs::LogGroup", 5)


@pytest.mark.parametrize("module", MODULES)
@pytest.mark.parametrize(
    ("region", "suffixes"),
    [
        ("us-east-1", ["amazonaws.com"]),
        ("us-gov-west-1", ["amazonaws.com"]),
        ("cn-north-1", ["amazonaws.com", "amazonaws.com.cn"]),
        ("eusc-de-east-1", ["amazonaws.com", "amazonaws.eu"]),
    ],
)
def test_the_tables_key_is_used_through_dynamodb_only(module: str, region: str, suffixes: list[str]) -> None:
    template = synthesize(aws_region_name=region, metering_table_kms_key_arn=KEY_ARN)

    (statement,) = allowed(template, module)["kms"]
    writes = ["kms:Encrypt", "kms:GenerateDataKey"] if module in INSERTS else []
    assert statement == {
        "Action": ["kms:Decrypt", *writes],
        "Condition": {
            "StringEquals": {"kms:ViaService": [f"dynamodb.{region}.{suffix}" for suffix in suffixes]}
        },
        "Effect": "Allow",
        "Resource": KEY_ARN,
    }


def test_only_inserts_look_up_subscribers_and_kinds_of_identifiers(template: Template) -> None:
    changed = synthesize(
        subscribers_table_name="Subscribers", customer_identifiers=["license_arn", "account_id"]
    )

    for module in MODULES:
        found = variables(changed, module)
        is_insert = module in INSERTS
        actions = table_actions(changed, module).get("Subscribers")
        assert actions == ({"dynamodb:BatchGetItem"} if is_insert else None)
        assert found.get("SUBSCRIBERS_TABLE_NAME") == ("Subscribers" if is_insert else None)
        assert found.get("CUSTOMER_IDENTIFIERS") == ("license_arn,account_id" if is_insert else None)
        assert "SUBSCRIBERS_TABLE_NAME" not in variables(template, module)
    assert variables(template, INSERTS[0])["CUSTOMER_IDENTIFIERS"] == "legacy,account_id,license_arn"


@pytest.mark.parametrize(("partition", "region"), REGIONS.items())
def test_no_resource_is_of_another_partition(partition: str, region: str) -> None:
    template = synthesize(aws_region_name=region)

    text = json.dumps(template.to_json())
    assert set(re.findall(r"arn:(aws[a-z-]*):", text)) == {partition}
    # In every partition, services are called <service>.amazonaws.com; hosts follow AWS::URLSuffix.
    assert set(re.findall(r"[a-z0-9.-]*amazonaws[a-z.]*", text)) == {
        f"{service}.amazonaws.com" for service in ("apigateway", "cloudwatch", "lambda")
    }
