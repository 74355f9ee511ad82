"""``make verify`` against deployments that work, and that were broken on purpose."""

import json
import sys
from collections.abc import Iterator
from functools import cache

import boto3
import pytest

from tests.integration.programs import run
from tests.unit.checks.quickstart_job import create_job, give_room
from tools.local_cloud.cloud import local_cloud
from tools.local_cloud.deploy import Api, deploy, read_config

PERMISSIONS = "The functions may do what they need on the tables"
LISTS = "Customers that do not exist have empty lists, License ARNs too"
ALARMS = "All alarms are there, and none is in ALARM"
RECOVERY = "The metering table survives a mistake"
JOB = "The hourly job has room"
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
    """Run the program; return its exit code, the lines of its checks by their titles, and its errors."""
    context = f"params={read_config(**params).model_dump_json(exclude_unset=True)}"
    command = (sys.executable, "-m", "checks.verify", "--context", context)
    variables = operator(api.aws_endpoint_url) | {"METERING_API_URL": api_url or api.api_url}
    finished = run(*command, **variables)
    print(finished.stdout)
    lines = [line for line in finished.stdout.splitlines() if line[0] in "✓!✗-"]
    return finished.returncode, {line[2:].partition(":")[0]: line for line in lines}, finished.stderr


def failed(lines: dict[str, str]) -> set[str]:
    return {title for title, line in lines.items() if line.startswith("✗")}


def test_a_working_deployment_passes(api: Api) -> None:
    code, lines, _ = verify(api)

    assert (code, failed(lines)) == (0, set())
    assert {title for title, line in lines.items() if line.startswith("-")} == {TLS, INSERT, JOB}
    assert lines[RECOVERY].startswith("!")


@pytest.mark.parametrize(
    ("api_url", "params", "error"),
    [
        (None, {"aws_region_name": "eu-west-1"}, "records cannot be found in eu-west-1"),
        ("metering.example.com", {}, "METERING_API_URL must be a URL, not 'metering.example.com'"),
        (None, {"authorization": "API_KEY"}, "has no API key yet: deploy it again"),
    ],
)
def test_another_deployment_than_the_configured_one_fails(
    api: Api, api_url: str | None, params: dict[str, object], error: str
) -> None:
    code, lines, errors = verify(api, api_url, **params)

    assert (code, lines) == (1, {})
    assert error in errors


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Api]:
    config = read_config(create_metering_table=True)
    with local_cloud(config.aws_region_name) as cloud:
        yield deploy(cloud, config)


def test_in_a_sandbox_an_insert_and_its_repeats_leave_one_record(sandbox: Api) -> None:
    code, lines, _ = verify(sandbox, create_metering_table=True)

    assert (code, failed(lines)) == (0, set())
    assert lines[INSERT].startswith("✓")
    assert boto3.client("dynamodb").scan(TableName=sandbox.metering_table)["Count"] == 1


def test_the_hourly_job_is_found_and_given_room(sandbox: Api) -> None:
    create_job(128, 15, 30)
    _, lines, _ = verify(sandbox)
    assert lines[JOB].startswith("!")
    assert "1,000 records of one customer" in lines[JOB]

    give_room()
    _, lines, _ = verify(sandbox)
    assert lines[JOB].startswith("✓")
    assert "6,100 records of one customer" in lines[JOB]


def test_a_ringing_or_missing_alarm_is_named(sandbox: Api) -> None:
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


def test_a_function_without_its_permissions_is_named(sandbox: Api) -> None:
    """The last test of this sandbox, which stays broken."""
    functions = boto3.client("lambda").list_functions()["Functions"]
    (role,) = (one["Role"].split("/")[-1] for one in functions if ".list_" in one.get("Handler", ""))
    iam = boto3.client("iam")
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)

    code, lines, _ = verify(sandbox)

    assert code == 1
    assert failed(lines) >= {PERMISSIONS, LISTS}
    assert role in lines[PERMISSIONS]
    assert "answered 500" in lines[LISTS] or "answered 503" in lines[LISTS]
