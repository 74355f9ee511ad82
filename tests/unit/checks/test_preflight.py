"""Checks of account and configuration before a deployment."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.kms.models import kms_backends

from checks import target_account
from checks.outcomes import FailedError
from checks.preflight import check
from tests.unit.infra.stacks import properties, synthesize
from tools.local_cloud.steps import PROJECT

TABLE = "AWSMarketplaceMeteringRecords"
DEFINITION = json.loads((PROJECT / "tools" / "local_cloud" / "metering_table.json").read_text())


def create_table(changes: Mapping[str, object] | None = None, region: str = "us-east-1") -> None:
    """Create the quickstart's table with changes; None leaves a member of its definition out."""
    definition: dict[str, Any] = {"TableName": TABLE, **DEFINITION, **(changes or {})}
    members = {name: value for name, value in definition.items() if value is not None}
    boto3.client("dynamodb", region_name=region).create_table(**members)


def params(**values: object) -> list[str]:
    """Return parameters as arguments of the CDK CLI."""
    return [
        "--context",
        "params=" + json.dumps({"aws_region_name": "us-east-1", "metering_table_name": TABLE} | values),
    ]


def problem(*arguments: str) -> str:
    with pytest.raises(FailedError) as caught:
        check("deploy", arguments)
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "cdk.context.json is not JSON: "),
        ("[]", 'cdk.context.json has no "params"'),
        ('{"params": {"aws_region_name": "<region>"}}', "the placeholder was never filled in"),
    ],
)
def test_a_wrong_configuration_file_fails(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    context = tmp_path / "cdk.context.json"
    context.write_text(text)
    monkeypatch.setattr(target_account, "_CONTEXT_FILE", context)

    assert message in problem()


class TestArguments:
    @pytest.fixture(autouse=True)
    def profiles(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Only the profile *seller* has credentials."""
        for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.delenv(variable)
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
        monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
        credentials = tmp_path / "credentials"
        credentials.write_text("[seller]\naws_access_key_id = a\naws_secret_access_key = b\n")
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))

    @pytest.mark.parametrize(
        ("arguments", "found"),
        [
            ((), "Unable to locate credentials"),
            (("--profile", "sellr"), "profile (sellr) could not be found"),
        ],
    )
    def test_without_credentials_the_ways_to_log_in_are_named(
        self, arguments: tuple[str, ...], found: str
    ) -> None:
        message = problem(*arguments)

        assert found in message
        assert "Log in (aws login, aws sso login), or name a profile" in message

    @pytest.mark.parametrize(
        ("profile", "option"), [(("--profile", "seller"), "-c"), (("--profile=seller",), "--context")]
    )
    def test_profile_and_context_are_those_of_the_cdk(self, profile: tuple[str, ...], option: str) -> None:
        _, assignment = params(aws_region_name="eu-central-1")

        found = problem("--verbose", *profile, "--exclusively", option, "other=1", option, assignment)

        assert f"There is no table {TABLE} in eu-central-1 of the AWS account 123456789012" in found

    def test_another_region_than_the_configured_one_fails(self) -> None:
        found = problem("--region", "eu-west-1")

        assert "--region eu-west-1 has no effect" in found
        assert "params.aws_region_name, which is us-east-1" in found

    def test_a_wrong_parameter_in_the_context_fails(self) -> None:
        assert "params.waf" in problem(*params(waf="yes"))


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


ATTRIBUTES = DEFINITION["AttributeDefinitions"]
(INDEX,) = DEFINITION["GlobalSecondaryIndexes"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {
                "AttributeDefinitions": [{"AttributeName": "id", "AttributeType": "S"}],
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "GlobalSecondaryIndexes": None,
            },
            "has the keys id (S), not customerIdentifier (S) and create_timestamp (N)",
        ),
        (
            {"AttributeDefinitions": [attribute | {"AttributeType": "S"} for attribute in ATTRIBUTES]},
            "customerIdentifier (S) and create_timestamp (S), not",
        ),
        (
            {
                "AttributeDefinitions": [
                    attribute for attribute in ATTRIBUTES if attribute["AttributeName"] != "metering_pending"
                ],
                "GlobalSecondaryIndexes": None,
            },
            "has no index PendingMeteringRecordsIndex with the key metering_pending (S)",
        ),
        (
            {"GlobalSecondaryIndexes": [INDEX | {"Projection": {"ProjectionType": "KEYS_ONLY"}}]},
            "and all attributes projected",
        ),
    ],
    ids=["other keys", "string timestamp", "no index", "attributes left out"],
)
def test_a_table_that_is_not_the_quickstarts_fails(changes: dict[str, object], message: str) -> None:
    create_table(changes)

    assert message in problem()


def test_a_table_in_another_region_is_found_there() -> None:
    create_table(region="eu-west-1")

    assert f"{TABLE} is in eu-west-1 and not in us-east-1: set params.aws_region_name" in problem()


@pytest.mark.parametrize("manager", ["CUSTOMER", "AWS"])
def test_only_a_customers_key_must_be_configured(monkeypatch: pytest.MonkeyPatch, manager: str) -> None:
    """moto has no AWS managed key; AWS answers KeyManager AWS for it (AWS KMS API reference, KeyMetadata)."""
    key = boto3.client("kms").create_key()["KeyMetadata"]
    stored_key = kms_backends[key["AWSAccountId"]]["us-east-1"].keys[key["KeyId"]]
    monkeypatch.setattr(stored_key, "key_manager", manager)
    create_table({"SSESpecification": {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key["Arn"]}})

    if manager == "CUSTOMER":
        assert f'set params.metering_table_kms_key_arn to "{key["Arn"]}"' in problem()
        check("deploy", params(metering_table_kms_key_arn=key["Arn"]))
    else:
        check("deploy", [])


def test_a_table_that_may_not_be_described_does_not_stop_a_deployment(answers: dict[str, object]) -> None:
    answers["DescribeTable"] = "AccessDeniedException"

    check("deploy", [])


def test_sandboxes_and_deletions_need_no_table() -> None:
    check("deploy", params(create_metering_table=True))
    check("destroy", [])


def test_another_stacks_api_gateway_role_is_not_replaced(answers: dict[str, object]) -> None:
    names = [role.get("RoleName") for role in properties(synthesize(), "IAM::Role")]
    (own_name,) = filter(None, names)
    own = f"arn:aws:iam::123456789012:role/{own_name}"
    create_table()
    for unset_or_own in ({}, {"cloudwatchRoleArn": own}):
        answers["GetAccount"] = unset_or_own
        check("deploy", [])

    assert f"the role {own}. This stack would replace it" in problem(*params(stack_name="product-b"))
    answers["GetAccount"] = {"cloudwatchRoleArn": "arn:aws:iam::123456789012:role/ApiGatewayLogs"}
    assert "set params.set_api_gateway_account_role to false" in problem()
    check("deploy", params(set_api_gateway_account_role=False))
    check("destroy", [])
