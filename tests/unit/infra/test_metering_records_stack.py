"""The stack's template."""

from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from tests.unit.infra.conftest import PARAMS

MODULES = ["insert_metering_record", "insert_metering_records", "list_metering_records"]


def function_id(template: Template, module: str) -> str:
    (logical_id,) = template.find_resources(
        "AWS::Lambda::Function", {"Properties": {"Handler": f"metering_handlers.{module}.lambda_handler"}}
    )
    return logical_id


def statements(template: Template, module: str) -> list[dict[str, Any]]:
    """What the function's own role allows."""
    functions = template.find_resources("AWS::Lambda::Function")
    role = functions[function_id(template, module)]["Properties"]["Role"]["Fn::GetAtt"][0]
    policies = template.find_resources("AWS::IAM::Policy", {"Properties": {"Roles": [{"Ref": role}]}})
    return [
        statement
        for policy in policies.values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
    ]


def idempotency_table_id(template: Template) -> str:
    (logical_id,) = template.find_resources("AWS::DynamoDB::Table")
    return logical_id


def test_there_are_three_functions_and_no_custom_resources(template: Template) -> None:
    template.resource_count_is("AWS::Lambda::Function", 3)
    resource_types = {resource["Type"] for resource in template.to_json()["Resources"].values()}
    assert not [name for name in resource_types if name.startswith("Custom::")]


@pytest.mark.parametrize("module", MODULES)
def test_a_function_runs_on_python_3_13_and_arm64_for_less_than_api_gateway_waits(
    template: Template, module: str
) -> None:
    template.has_resource_properties(
        "AWS::Lambda::Function",
        {
            "Handler": f"metering_handlers.{module}.lambda_handler",
            "Runtime": "python3.13",
            "Architectures": ["arm64"],
            "Timeout": 27,
            "LoggingConfig": {"LogGroup": Match.any_value()},
        },
    )


def test_every_log_group_ends_its_memory_some_day(template: Template) -> None:
    template.all_resources(
        "AWS::Logs::LogGroup", {"Properties": {"RetentionInDays": 90}, "DeletionPolicy": "Retain"}
    )
    template.resource_count_is("AWS::Logs::LogGroup", 5)


def table_actions(template: Template, module: str) -> dict[str, set[str]]:
    """The actions that the function may do on each table."""
    allowed: dict[str, set[str]] = {}
    for statement in statements(template, module):
        actions = as_list(statement["Action"])
        if not any(action.startswith("dynamodb:") for action in actions):
            continue
        for resource in as_list(statement["Resource"]):
            if "Fn::GetAtt" in resource:
                assert resource["Fn::GetAtt"] == [idempotency_table_id(template), "Arn"]
                table = "idempotency"
            else:
                # The whole name: no index, and no wildcard.
                table = resource["Fn::Join"][1][-1].partition(":table/")[2]
            allowed.setdefault(table, set()).update(actions)
    return allowed


def as_list(value: Any) -> list[Any]:  # noqa: ANN401 - of a template
    return value if isinstance(value, list) else [value]


@pytest.mark.parametrize("module", MODULES[:2])
def test_an_insert_may_put_into_both_tables_and_read_rows(template: Template, module: str) -> None:
    assert table_actions(template, module) == {
        PARAMS["metering_table_name"]: {"dynamodb:PutItem"},
        "idempotency": {"dynamodb:PutItem", "dynamodb:BatchGetItem"},
    }


def test_the_list_may_query_records_and_read_rows_and_write_nothing(template: Template) -> None:
    assert table_actions(template, MODULES[2]) == {
        PARAMS["metering_table_name"]: {"dynamodb:Query"},
        "idempotency": {"dynamodb:BatchGetItem"},
    }


@pytest.mark.parametrize("module", MODULES)
def test_beside_its_tables_a_function_may_write_its_own_log_and_nothing_else(
    template: Template, module: str
) -> None:
    others = [
        (sorted(statement["Action"]), statement["Resource"])
        for statement in statements(template, module)
        if "dynamodb" not in str(statement["Action"])
    ]

    ((actions, resource),) = others
    assert actions == ["logs:CreateLogStream", "logs:PutLogEvents"]
    assert set(resource) == {"Fn::GetAtt"}
    roles = template.find_resources(
        "AWS::IAM::Role", {"Properties": {"Description": f"Permissions of {module}."}}
    )
    (role,) = roles.values()
    assert "ManagedPolicyArns" not in role["Properties"]


def test_the_idempotency_table_forgets_by_itself_and_is_backed_up_encrypted_and_kept(
    template: Template,
) -> None:
    template.has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                "TimeToLiveSpecification": {"AttributeName": "delete_after", "Enabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "SSESpecification": {"SSEEnabled": True},
            },
        },
    )


@pytest.mark.parametrize("module", MODULES)
def test_a_function_knows_the_tables_that_it_may_use(template: Template, module: str) -> None:
    assert variables(template, module) >= {
        ("METERING_TABLE_NAME", PARAMS["metering_table_name"]),
        ("IDEMPOTENCY_TABLE_NAME", str({"Ref": idempotency_table_id(template)})),
    }


@pytest.mark.parametrize("module", MODULES[:2])
def test_an_insert_knows_how_long_keys_and_ids_are_remembered(
    synthesize: Callable[..., Template], template: Template, module: str
) -> None:
    longer = synthesize(idempotency_hours=48, transaction_id_days=400)

    assert variables(template, module) >= {("IDEMPOTENCY_HOURS", "24"), ("TRANSACTION_ID_DAYS", "90")}
    assert variables(longer, module) >= {("IDEMPOTENCY_HOURS", "48"), ("TRANSACTION_ID_DAYS", "400")}


def variables(template: Template, module: str) -> set[tuple[str, str]]:
    """The function's environment variables, with references as text."""
    function = template.find_resources("AWS::Lambda::Function")[function_id(template, module)]
    found: dict[str, object] = function["Properties"]["Environment"]["Variables"]
    return {(name, str(value)) for name, value in found.items()}


def test_the_api_is_regional_with_three_routes_that_ask_for_iam(template: Template) -> None:
    template.has_resource_properties(
        "AWS::ApiGateway::RestApi", {"EndpointConfiguration": {"Types": ["REGIONAL"]}}
    )
    template.has_resource_properties("AWS::ApiGateway::Stage", {"StageName": "prod"})
    template.resource_count_is("AWS::ApiGateway::Method", 3)
    template.all_resources_properties("AWS::ApiGateway::Method", {"AuthorizationType": "AWS_IAM"})
    assert sorted(
        resource["Properties"]["PathPart"]
        for resource in template.find_resources("AWS::ApiGateway::Resource").values()
    ) == [
        "insertMeteringRecord",
        "insertMeteringRecords",
        "listMeteringRecords",
        "{customerIdentifier+}",
        "{customerIdentifier+}",
    ]


def test_the_outputs_are_the_urls_of_the_api_and_of_its_endpoints(template: Template) -> None:
    outputs = template.find_outputs("*")

    paths = {
        "ApiUrl": "/",
        "InsertMeteringRecordUrl": "/insertMeteringRecord/{customerIdentifier}",
        "InsertMeteringRecordsUrl": "/insertMeteringRecords",
        "ListMeteringRecordsUrl": "/listMeteringRecords/{customerIdentifier}",
    }
    assert set(outputs) == set(paths)
    for name, path in paths.items():
        assert outputs[name]["Value"]["Fn::Join"][1][-1] == path
