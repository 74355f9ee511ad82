"""Checks of account and configuration before a deployment."""

import json
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.kms.models import kms_backends

from checks import target_account
from checks.preflight import NotReadyError, check
from tools.local_cloud.steps import PROJECT

TABLE = "AWSMarketplaceMeteringRecords"
MAKE = shutil.which("make")
DEFINITION = json.loads((PROJECT / "tools" / "local_cloud" / "metering_table.json").read_text())


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with mock_aws():
        yield


def bootstrap(qualifier: str = "hnb659fds") -> None:
    boto3.client("ssm", region_name="us-east-1").put_parameter(
        Name=f"/cdk-bootstrap/{qualifier}/version", Value="28", Type="String"
    )


def create_table(region: str = "us-east-1", **changes: object) -> None:
    """Create the quickstart's table with changes; None leaves a member of its definition out."""
    definition: dict[str, Any] = {"TableName": TABLE, **DEFINITION, **changes}
    members = {name: value for name, value in definition.items() if value is not None}
    boto3.client("dynamodb", region_name=region).create_table(**members)


def params(**values: object) -> list[str]:
    """Return parameters as arguments of the CDK CLI."""
    return [
        "--context",
        "params=" + json.dumps({"aws_region_name": "us-east-1", "metering_table_name": TABLE} | values),
    ]


def problem(*arguments: str, command: str = "deploy") -> str:
    with pytest.raises(NotReadyError) as caught:
        check(command, arguments)
    return str(caught.value)


def test_an_account_that_is_prepared_is_ready() -> None:
    bootstrap()
    create_table()

    check("deploy", [])


def test_without_bootstrap_the_command_to_run_is_named() -> None:
    assert "cdk bootstrap aws://123456789012/us-east-1" in problem()


def test_the_bootstrap_is_the_one_of_the_contexts_qualifier() -> None:
    bootstrap()
    create_table()
    context = ("--context", "@aws-cdk/core:bootstrapQualifier=team")
    assert problem(*context).endswith("cdk bootstrap aws://123456789012/us-east-1 --qualifier team")

    bootstrap("team")

    check("deploy", context)


def test_without_credentials_the_ways_to_log_in_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))

    assert "No AWS credentials were found" in problem()


def test_a_placeholder_in_the_configuration_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = tmp_path / "cdk.context.json"
    context.write_text('{"params": {"aws_region_name": "<aws_region_name>", "metering_table_name": "abc"}}')
    monkeypatch.setattr(target_account, "_CONTEXT_FILE", context)

    assert "the placeholder was never filled in" in problem()


@pytest.mark.parametrize(
    ("text", "message"),
    [("{", "cdk.context.json is not JSON: "), ("[]", 'cdk.context.json has no "params"')],
)
def test_a_file_that_is_no_configuration_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str, message: str
) -> None:
    context = tmp_path / "cdk.context.json"
    context.write_text(text)
    monkeypatch.setattr(target_account, "_CONTEXT_FILE", context)

    assert message in problem()


class TestTheArgumentsOfTheCdk:
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

    @pytest.mark.parametrize("arguments", [("--profile", "seller"), ("--profile=seller",)])
    def test_the_profile_is_the_one_that_the_cdk_gets(self, arguments: tuple[str, ...]) -> None:
        found = problem("--verbose", *arguments, "--exclusively")

        assert found.endswith("cdk bootstrap aws://123456789012/us-east-1 --profile seller")

    def test_a_profile_that_does_not_exist_is_named(self) -> None:
        assert "sellr" in problem("--profile", "sellr")

    @pytest.mark.parametrize("option", ["-c", "--context"])
    def test_the_context_is_the_one_that_the_cdk_gets(self, option: str) -> None:
        _, assignment = params(aws_region_name="eu-central-1")

        found = problem("--profile", "seller", option, "other=1", option, assignment)

        assert "aws://123456789012/eu-central-1" in found

    def test_another_region_than_the_configurations_is_refused(self) -> None:
        found = problem("--profile", "seller", "--region", "eu-west-1")

        assert "--region eu-west-1 has no effect" in found
        assert "params.aws_region_name, which is us-east-1" in found

    def test_make_hands_a_file_with_line_breaks_on_in_one_piece(self) -> None:
        context = json.dumps({"aws_region_name": "eu-west-1", "stack_name": "product-a"}, indent=2)
        finished = subprocess.run(  # noqa: S603 - found on the path
            [str(MAKE), "--dry-run", "diff", f"ARGS=--context params='{context}'"],
            cwd=PROJECT,
            capture_output=True,
            text=True,
            check=True,
        )

        (line,) = (line for line in finished.stdout.splitlines() if "checks.preflight diff" in line)
        *_, assignment = shlex.split(line)
        assert json.loads(assignment.removeprefix("params=")) == json.loads(context)

    def test_a_wrong_parameter_in_the_context_is_explained(self) -> None:
        assert "params.waf must be true or false" in problem("--profile", "seller", *params(waf="yes"))


class TestTheMeteringTable:
    @pytest.fixture(autouse=True)
    def bootstrapped(self) -> None:
        bootstrap()

    def test_absent(self) -> None:
        found = problem()

        assert f"There is no table {TABLE} in us-east-1" in found
        assert "params.create_metering_table" in found
        assert "123456789012" in found

    def test_in_another_region(self) -> None:
        create_table("eu-west-1")

        assert f"{TABLE} is in eu-west-1 and not in us-east-1: set params.aws_region_name" in problem()

    def test_with_other_keys(self) -> None:
        create_table(
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            GlobalSecondaryIndexes=None,
        )

        assert "has the keys id (S), not customerIdentifier (S) and create_timestamp (N)" in problem()

    def test_with_a_timestamp_that_is_a_string(self) -> None:
        attributes = [attribute | {"AttributeType": "S"} for attribute in DEFINITION["AttributeDefinitions"]]
        create_table(AttributeDefinitions=attributes)

        assert "customerIdentifier (S) and create_timestamp (S), not" in problem()

    def test_without_the_index(self) -> None:
        attributes = [
            attribute
            for attribute in DEFINITION["AttributeDefinitions"]
            if attribute["AttributeName"] != "metering_pending"
        ]
        create_table(AttributeDefinitions=attributes, GlobalSecondaryIndexes=None)

        assert "has no index PendingMeteringRecordsIndex with the key metering_pending (S)" in problem()

    def test_with_an_index_that_leaves_attributes_out(self) -> None:
        (index,) = DEFINITION["GlobalSecondaryIndexes"]
        create_table(GlobalSecondaryIndexes=[index | {"Projection": {"ProjectionType": "KEYS_ONLY"}}])

        assert "and all attributes projected" in problem()

    def test_encrypted_with_a_customer_key_that_the_configuration_does_not_name(self) -> None:
        key_arn = boto3.client("kms").create_key()["KeyMetadata"]["Arn"]
        create_table(SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key_arn})

        assert f'set params.metering_table_kms_key_arn to "{key_arn}"' in problem()
        check("deploy", params(metering_table_kms_key_arn=key_arn))

    def test_encrypted_with_the_key_that_aws_manages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """moto has no such key; AWS answers KeyManager AWS for it (AWS KMS API reference, KeyMetadata)."""
        key = boto3.client("kms").create_key()["KeyMetadata"]
        create_table(SSESpecification={"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key["Arn"]})
        stored_key = kms_backends[key["AWSAccountId"]]["us-east-1"].keys[key["KeyId"]]
        monkeypatch.setattr(stored_key, "key_manager", "AWS")

        check("deploy", [])

    def test_in_a_sandbox_the_stack_creates_it(self) -> None:
        check("deploy", params(create_metering_table=True))

    def test_is_not_needed_to_delete_the_stack(self) -> None:
        check("destroy", [])

    def test_who_may_not_describe_tables_is_not_stopped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        denied = ClientError(
            {"Error": {"Code": "AccessDeniedException", "Message": "not authorized"}}, "DescribeTable"
        )

        def refuse(*_: object, **__: object) -> None:
            raise denied

        monkeypatch.setattr("moto.dynamodb.models.DynamoDBBackend.describe_table", refuse)

        check("deploy", [])
