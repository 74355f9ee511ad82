"""The quickstart's job, as ``make verify`` finds it and measures its room."""

import json
import shlex

import boto3
import pytest

from checks.hourly_job import RECORD_CPU_SECONDS, JobFunction, check_hourly_job
from checks.outcomes import SkippedError, WarnedError
from checks.target_account import TargetAccount
from infra.config import Config
from tests.unit.checks.quickstart_job import BILLER, SENDER, TABLE, create_job, give_room


@pytest.fixture
def target() -> TargetAccount:
    config = Config(aws_region_name="us-east-1", metering_table_name=TABLE)
    return TargetAccount(boto3.Session(region_name="us-east-1"), config, "123456789012")


@pytest.mark.parametrize(("records", "seconds"), [(400, 3.8), (600, 7.0), (1000, 10.3)])
def test_the_formula_fits_what_was_measured(records: int, seconds: float) -> None:
    """The job's own code took so long in a function of 128 MB."""
    assert JobFunction("name", 128, 15, {}).cpu_share * seconds / records == pytest.approx(
        RECORD_CPU_SECONDS, rel=0.15
    )


@pytest.mark.parametrize(
    ("memory_mb", "timeout_seconds", "expected"),
    [
        (128, 15, (1000, 600)),
        (128, 30, (1000, 1200)),
        (128, 5, (400, 200)),
        (512, 15, (4000, 1300)),
        (1024, 60, (6100, 6100)),
        (3008, 1, (1300, 100)),
    ],
)
def test_room_grows_with_memory_and_timeout(
    memory_mb: int, timeout_seconds: int, expected: tuple[int, int]
) -> None:
    found = JobFunction("name", memory_mb, timeout_seconds, {})

    assert (found.customer_records(), found.customers()) == expected


def outcome(target: TargetAccount) -> str:
    try:
        return f"passed: {check_hourly_job(target)}"
    except WarnedError as warning:
        return f"warned: {warning}"


def test_the_quickstarts_default_gets_commands_for_more_room(target: TargetAccount) -> None:
    create_job(128, 15, 30)

    sentence, *commands = outcome(target).split("\n    ")

    assert sentence.startswith("warned: ")
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
    assert functions == [
        [
            *("aws", "lambda", "update-function-configuration", "--function-name", name),
            *("--memory-size", "1024", "--timeout", "60", "--region", "us-east-1"),
        ]
        for name in (BILLER, SENDER)
    ]


def test_a_job_with_room_passes(target: TargetAccount) -> None:
    create_job(128, 15, 30)
    give_room()

    assert outcome(target) == (
        "passed: In an hour it can bill 6,100 records of one customer, 6,100 customers, and 6,100 records "
        "in all. With more of one customer it is cut off, repeated every 400 s up to 3 times, and may bill "
        "twice. Set params.job_records_per_hour to 6000."
    )


def test_larger_functions_are_not_made_smaller(target: TargetAccount) -> None:
    create_job(2048, 120, 130)

    found = outcome(target)

    assert "update-function-configuration" not in found
    assert '"VisibilityTimeout": "760"' in found


def test_a_job_of_another_table_is_not_this_ones(target: TargetAccount) -> None:
    create_job(128, 15, 30, table="OtherProductsRecords")

    with pytest.raises(SkippedError, match="are not in the account 123456789012 in us-east-1"):
        outcome(target)
