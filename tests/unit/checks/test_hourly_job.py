"""The quickstart's job, as ``make verify`` finds it and measures its room."""

import json
import shlex

import boto3
import pytest

from checks.hourly_job import RECORD_CPU_SECONDS, JobFunction, check_hourly_job
from checks.metering_table import check_recovery
from checks.outcomes import SkippedError, WarnedError
from checks.target_account import TargetAccount
from infra.config import Config
from tests.unit.checks.quickstart_job import BILLER, SENDER, TABLE, create_job, give_room
from tools.local_cloud.steps import PROJECT

DEFINITION = json.loads((PROJECT / "tools" / "local_cloud" / "metering_table.json").read_text())


def function(memory_mb: int, timeout_seconds: int) -> JobFunction:
    return JobFunction("name", memory_mb, timeout_seconds, {})


@pytest.mark.parametrize(("records", "seconds"), [(400, 3.8), (600, 7.0), (1000, 10.3)])
def test_the_formula_fits_what_was_measured(records: int, seconds: float) -> None:
    """The job's own code took so long in a function of 128 MB."""
    assert function(128, 15).cpu_share * seconds / records == pytest.approx(RECORD_CPU_SECONDS, rel=0.15)


@pytest.mark.parametrize(
    ("memory_mb", "timeout_seconds", "records", "customers"),
    [
        (128, 15, 1000, 600),
        (128, 30, 1000, 1200),
        (128, 5, 400, 200),
        (512, 15, 4000, 1300),
        (1024, 60, 6100, 6100),
        (3008, 1, 1300, 100),
    ],
)
def test_room_grows_with_memory_and_timeout(
    memory_mb: int, timeout_seconds: int, records: int, customers: int
) -> None:
    found = function(memory_mb, timeout_seconds)

    assert (found.customer_records(), found.customers()) == (records, customers)


@pytest.fixture
def target() -> TargetAccount:
    config = Config(aws_region_name="us-east-1", metering_table_name=TABLE)
    return TargetAccount(boto3.Session(region_name="us-east-1"), config, "123456789012")


def test_the_quickstarts_default_gets_commands_for_more_room(target: TargetAccount) -> None:
    create_job(128, 15, 30)

    with pytest.raises(WarnedError) as caught:
        check_hourly_job(target)

    sentence, *commands = str(caught.value).split("\n    ")
    print(caught.value)
    assert "1,000 records of one customer, 1,800 customers, and 6,100 records in all" in sentence
    assert "repeated every 30 s for 50 minutes" in sentence
    dead_letters, queue, *functions = map(shlex.split, commands)
    assert dead_letters[:3] == ["aws", "sqs", "create-queue"]
    attributes = json.loads(queue[queue.index("--attributes") + 1])
    assert attributes["VisibilityTimeout"] == "400"
    assert json.loads(attributes["RedrivePolicy"]) == {
        "deadLetterTargetArn": f"arn:aws:sqs:us-east-1:123456789012:{dead_letters[4]}",
        "maxReceiveCount": 3,
    }
    for command, name in zip(functions, (BILLER, SENDER), strict=True):
        assert command == [
            *("aws", "lambda", "update-function-configuration", "--function-name", name),
            *("--memory-size", "1024", "--timeout", "60", "--region", "us-east-1"),
        ]


def test_a_job_with_room_passes(target: TargetAccount) -> None:
    create_job(128, 15, 30)
    give_room()

    capacity = check_hourly_job(target)
    print(capacity)

    assert "6,100 records of one customer, 6,100 customers" in capacity
    assert "repeated every 400 s up to 3 times" in capacity
    assert capacity.endswith("Set params.job_records_per_hour to 6000.")


def test_larger_functions_are_not_made_smaller(target: TargetAccount) -> None:
    create_job(2048, 120, 130)

    with pytest.raises(WarnedError) as caught:
        check_hourly_job(target)

    assert "update-function-configuration" not in str(caught.value)
    assert '"VisibilityTimeout": "760"' in str(caught.value)


def test_a_job_of_another_table_is_not_this_ones(target: TargetAccount) -> None:
    create_job(128, 15, 30, table="OtherProductsRecords")

    with pytest.raises(SkippedError, match="are not in the account 123456789012 in us-east-1"):
        check_hourly_job(target)


@pytest.mark.parametrize("protection", ["none", "deletion protection", "point-in-time recovery"])
def test_a_table_without_any_protection_gets_the_commands(target: TargetAccount, protection: str) -> None:
    client = boto3.client("dynamodb")
    client.create_table(
        TableName=TABLE,
        **DEFINITION,
        DeletionProtectionEnabled=protection == "deletion protection",
    )
    client.update_continuous_backups(
        TableName=TABLE,
        PointInTimeRecoverySpecification={
            "PointInTimeRecoveryEnabled": protection == "point-in-time recovery"
        },
    )

    if protection == "none":
        with pytest.raises(WarnedError, match="Have both:\n    aws dynamodb update-continuous-backups"):
            check_recovery(target)
    else:
        check_recovery(target)
