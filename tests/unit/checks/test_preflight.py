"""Checks of account and configuration before a deployment."""

import json
import shlex
import shutil
import subprocess
from pathlib import Path

import boto3
import pytest

from checks import target_account
from checks.outcomes import FailedError
from checks.preflight import check
from tests.unit.checks.quickstart_job import TABLE
from tests.unit.infra.stacks import properties, synthesize
from tools.local_cloud.steps import PROJECT

Answers = dict[str, object]

DEFINITION = json.loads((PROJECT / "tools" / "local_cloud" / "metering_table.json").read_text())
ATTRIBUTES = DEFINITION["AttributeDefinitions"]
(INDEX,) = DEFINITION["GlobalSecondaryIndexes"]
KEY = "arn:aws:kms:us-east-1:123456789012:key/0c237476-b39f-44d9-9044-1d2b3f4e5a6b"


def params(**values: object) -> list[str]:
    """Return parameters as arguments of the CDK CLI."""
    context = {"aws_region_name": "us-east-1", "metering_table_name": TABLE} | values
    return ["--context", f"params={json.dumps(context)}"]


_, EU = params(aws_region_name="eu-central-1")


def problem(*arguments: str) -> str:
    with pytest.raises(FailedError) as caught:
        check("deploy", arguments)
    return str(caught.value)


def test_a_wrong_configuration_file_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = tmp_path / "cdk.context.json"
    context.write_text("{")
    monkeypatch.setattr(target_account, "_CONTEXT_FILE", context)

    assert "cdk.context.json is not JSON: " in problem()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Unable to locate credentials. Log in (aws login, aws sso login), or name a profile"),
        (["--profile", "sellr"], "profile (sellr) could not be found. Log in"),
        (["--profile=seller"], f"There is no table {TABLE} in us-east-1 of the AWS account 123456789012"),
        (["--profile", "seller", "--quiet", "-c", "other=1", "-c", EU], f"no table {TABLE} in eu-central-1"),
        (
            ["--region", "eu-west-1"],
            "no effect: the CDK deploys to params.aws_region_name, which is us-east-1",
        ),
        (params(waf="yes"), "params.waf"),
    ],
)
def test_profile_region_and_context_are_those_of_the_cdk(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], message: str
) -> None:
    """Only the profile *seller* has credentials."""
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    credentials = tmp_path / "credentials"
    credentials.write_text("[seller]\naws_access_key_id = a\naws_secret_access_key = b\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))

    assert message in problem(*arguments)


def test_make_passes_a_context_with_line_breaks_in_one_piece() -> None:
    context = json.dumps({"aws_region_name": "eu-west-1", "stack_name": "product-a"}, indent=2)
    finished = subprocess.run(  # noqa: S603 - found on the path
        [str(shutil.which("make")), "--dry-run", "diff", f"ARGS=--context params='{context}'"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )

    (line,) = (line for line in finished.stdout.splitlines() if "checks.preflight diff" in line)
    *_, assignment = shlex.split(line)
    assert json.loads(assignment.removeprefix("params=")) == json.loads(context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
            },
            "has the keys id (S), not customerIdentifier (S) and create_timestamp (N)",
        ),
        (
            {"AttributeDefinitions": [attribute | {"AttributeType": "S"} for attribute in ATTRIBUTES]},
            "customerIdentifier (S) and create_timestamp (S), not",
        ),
        (
            {"GlobalSecondaryIndexes": []},
            "has no index PendingMeteringRecordsIndex with the key metering_pending (S)",
        ),
        *(
            ({"GlobalSecondaryIndexes": [INDEX | change]}, "and all attributes projected")
            for change in (
                {"Projection": {"ProjectionType": "KEYS_ONLY"}},
                {"KeySchema": [{"AttributeName": "other", "KeyType": "HASH"}]},
                {"IndexName": "Other"},
            )
        ),
    ],
)
def test_a_table_that_is_not_the_quickstarts_fails(
    answers: Answers, changes: dict[str, object], message: str
) -> None:
    answers["DescribeTable"] = {"Table": DEFINITION | changes}

    assert message in problem()


def test_a_table_in_another_region_is_found_there() -> None:
    boto3.client("dynamodb", region_name="eu-west-1").create_table(TableName=TABLE, **DEFINITION)

    assert f"{TABLE} is in eu-west-1 and not in us-east-1: set params.aws_region_name" in problem()


def test_only_a_customers_key_must_be_configured(answers: Answers) -> None:
    answers["DescribeTable"] = {"Table": DEFINITION | {"SSEDescription": {"KMSMasterKeyArn": KEY}}}

    answers["DescribeKey"] = {"KeyMetadata": {"KeyManager": "CUSTOMER"}}
    assert f'set params.metering_table_kms_key_arn to "{KEY}"' in problem()
    check("deploy", params(metering_table_kms_key_arn=KEY))
    for other in ({"KeyMetadata": {"KeyManager": "AWS"}}, "AccessDeniedException"):
        answers["DescribeKey"] = other
        check("deploy", [])


def test_what_needs_no_table_or_may_not_be_described_passes(answers: Answers) -> None:
    check("deploy", params(create_metering_table=True))
    check("destroy", [])
    answers["DescribeTable"] = "AccessDeniedException"
    check("deploy", [])


def test_another_stacks_api_gateway_role_is_not_replaced(answers: Answers) -> None:
    (own_name,) = {role.get("RoleName") for role in properties(synthesize(), "IAM::Role")} - {None}
    own = f"arn:aws:iam::123456789012:role/{own_name}"
    answers["DescribeTable"] = {"Table": DEFINITION}
    for unset_or_own in ({}, {"cloudwatchRoleArn": own}):
        answers["GetAccount"] = unset_or_own
        check("deploy", [])

    assert f"the role {own}. This stack would replace it" in problem(*params(stack_name="product-b"))
    answers["GetAccount"] = {"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/ApiGatewayLogs"}
    assert "set params.set_api_gateway_account_role to false" in problem()
    check("deploy", params(set_api_gateway_account_role=False))
    check("destroy", [])
