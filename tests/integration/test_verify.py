"""``make verify`` against deployments that work, and that were broken on purpose."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import boto3
import pytest

from infra.config import Config
from tools.local_cloud.cloud import local_cloud
from tools.local_cloud.deploy import Api, deploy, read_config
from tools.local_cloud.steps import PROJECT

if TYPE_CHECKING:
    from collections.abc import Iterator

TABLE = "The metering table has the quickstart's keys and index, in this region"
PERMISSIONS = "The functions may do what they need on the tables"
LIST = "A customer that does not exist has an empty list"
ALARMS = "All alarms are there, and none is in ALARM"
TLS = "TLS 1.1 is refused"
INSERT = "An insert and its repeat write one record"


@cache
def operator(_endpoint_url: str) -> dict[str, str]:
    """Create an IAM user who may do everything in a cloud, because MiniStack checks no other's signatures."""
    iam = boto3.client("iam")
    iam.create_user(UserName="operator")
    statement = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName="operator", PolicyName="everything", PolicyDocument=policy)
    key = iam.create_access_key(UserName="operator")["AccessKey"]
    return {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}


def verify(api: Api, api_url: str | None = None, **params: object) -> tuple[int, dict[str, str], str]:
    """Run the program; return its exit code, the lines of its checks by their titles, and all it printed."""
    configured = read_config().model_dump(mode="json", exclude_unset=True) | params
    finished = subprocess.run(  # noqa: S603 - this very program
        [sys.executable, "-m", "checks.verify", "--context", f"params={json.dumps(configured)}"],
        cwd=PROJECT,
        env=os.environ | operator(api.aws_endpoint_url) | {"METERING_API_URL": api_url or api.api_url},
        capture_output=True,
        text=True,
        check=False,
    )
    print(finished.stdout + finished.stderr)
    lines = [line for line in finished.stdout.splitlines() if line[0] in "✓✗-"]
    return (
        finished.returncode,
        {line[2:].partition(":")[0]: line for line in lines},
        finished.stdout + finished.stderr,
    )


def failed(lines: dict[str, str]) -> set[str]:
    return {title for title, line in lines.items() if line.startswith("✗")}


def test_a_working_deployment_passes_and_skipped_checks_say_why(api: Api) -> None:
    code, lines, _ = verify(api)

    assert (code, failed(lines)) == (0, set())
    skipped = {title for title, line in lines.items() if line.startswith("-")}
    assert skipped == {TLS, INSERT}
    assert "not https" in lines[TLS]
    assert "would be billed" in lines[INSERT]
    assert len(lines) == 10


def test_in_another_region_the_stack_is_not_found(api: Api) -> None:
    code, lines, output = verify(api, aws_region_name="eu-west-1")

    assert (code, lines) == (1, {})
    assert "cdk-apigw-marketplace-metering-records cannot be found in eu-west-1" in output


def test_a_url_that_is_none_and_a_key_that_was_not_deployed_are_told(api: Api) -> None:
    code, lines, output = verify(api, api_url="metering.example.com")
    assert (code, lines) == (1, {})
    assert "METERING_API_URL must be a URL, not 'metering.example.com'" in output

    code, lines, output = verify(api, authorization="API_KEY")
    assert (code, lines) == (1, {})
    assert "has no API key yet: deploy it again" in output


@pytest.fixture(scope="module")
def sandbox() -> "Iterator[Api]":
    config = Config.from_context(
        read_config().model_dump(mode="json", exclude_unset=True) | {"create_metering_table": True}
    )
    with local_cloud(config.aws_region_name) as cloud:
        yield deploy(cloud, config)


def test_in_a_sandbox_a_record_is_inserted_and_its_repeat_is_not(sandbox: Api) -> None:
    code, lines, _ = verify(sandbox, create_metering_table=True)

    assert (code, failed(lines)) == (0, set())
    assert lines[INSERT].startswith("✓")
    assert boto3.client("dynamodb").scan(TableName=sandbox.metering_table)["Count"] == 1


def test_an_alarm_that_rings_or_is_gone_is_named(sandbox: Api) -> None:
    cloudwatch = boto3.client("cloudwatch")
    ringing, gone, *_ = [alarm["AlarmName"] for alarm in cloudwatch.describe_alarms()["MetricAlarms"]]

    cloudwatch.set_alarm_state(AlarmName=ringing, StateValue="ALARM", StateReason="test")
    _, lines, _ = verify(sandbox)
    assert failed(lines) == {ALARMS}
    assert f"In ALARM: {ringing}." in lines[ALARMS]
    cloudwatch.set_alarm_state(AlarmName=ringing, StateValue="OK", StateReason="test")

    cloudwatch.delete_alarms(AlarmNames=[gone])
    code, lines, _ = verify(sandbox)
    assert (code, failed(lines)) == (1, {ALARMS})
    assert f"Alarms are gone: {gone}." in lines[ALARMS]


@contextmanager
def without_policies(role: str) -> "Iterator[None]":
    iam = boto3.client("iam")
    names = iam.list_role_policies(RoleName=role)["PolicyNames"]
    policies = {name: iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"] for name in names}
    for name in policies:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    try:
        yield
    finally:
        for name, document in policies.items():
            iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=json.dumps(document))


@pytest.mark.parametrize("function", ["InsertMeteringRecords", "ListMeteringRecords"])
def test_a_function_without_its_permissions_is_named(sandbox: Api, function: str) -> None:
    (role,) = (
        resource["PhysicalResourceId"]
        for resource in boto3.client("cloudformation").describe_stack_resources(StackName=sandbox.stack_name)[
            "StackResources"
        ]
        if resource["LogicalResourceId"].startswith(f"{function}Role")
        and resource["ResourceType"] == "AWS::IAM::Role"
    )

    with without_policies(role):
        code, lines, _ = verify(sandbox)

    assert code == 1
    assert PERMISSIONS in failed(lines)
    assert role in lines[PERMISSIONS]
    if function == "ListMeteringRecords":
        assert "answered 500" in lines[LIST] or "answered 503" in lines[LIST]


def test_a_table_without_its_index_is_told(sandbox: Api) -> None:
    boto3.client("dynamodb").update_table(
        TableName=sandbox.metering_table,
        GlobalSecondaryIndexUpdates=[{"Delete": {"IndexName": "PendingMeteringRecordsIndex"}}],
    )

    code, lines, _ = verify(sandbox)

    assert code == 1
    assert "has no index PendingMeteringRecordsIndex" in lines[TABLE]
