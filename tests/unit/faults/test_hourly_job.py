"""The hourly job, run on records that the API stored: each is metered once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from tests.environment import METERING_TABLE_NAME
from tests.unit.faults.faults import Fault
from tests.unit.faults.run import Run
from tests.unit.faults.schedules import Call, Day, JobRuns, Move, Payload, Schedule, Unit
from tests.unit.lambda_calls import Api, buyer, usage
from tools.local_cloud.hourly_job import HourlyJob, JobFailedError, Marketplace, MeteringError

LICENSE_ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"


@pytest.fixture
def marketplace() -> Marketplace:
    return Marketplace()


@pytest.fixture
def job(tables: DynamoDBClient, marketplace: Marketplace) -> HourlyJob:
    return HourlyJob(tables, METERING_TABLE_NAME, marketplace)


def test_the_quantities_metered_are_those_acknowledged(job: HourlyJob, marketplace: Marketplace) -> None:
    api = Api()
    buyers = [buyer(f"c{number % 7}", storage=number, requests=1) for number in range(250)]
    assert api.insert_many({"buyers": buyers}).status == 200
    assert api.insert_one(LICENSE_ARN, usage(storage=2_147_483_647)).status == 200
    assert api.insert_one("heartbeat", usage(storage=0)).status == 200
    as_many_as_we_take = {f"d{number}": number for number in range(25)}
    for _ in range(3):
        assert api.insert_one("wide", usage(**as_many_as_we_take)).status == 200

    while job.run():
        pass

    expected = Counter({(LICENSE_ARN, "storage"): 2_147_483_647, ("heartbeat", "storage"): 0})
    for number in range(250):
        expected[f"c{number % 7}", "storage"] += number
        expected[f"c{number % 7}", "requests"] += 1
    expected.update({("wide", name): 3 * value for name, value in as_many_as_we_take.items()})
    assert marketplace.metered == expected
    assert len(job.marked) == job.marked.total() == 7 + 2 + 3, "one for each customer and request"


def test_the_job_marks_the_records_it_read(job: HourlyJob) -> None:
    api = Api()
    for _ in range(3):
        assert api.insert_one("c", usage(m=1)).status == 200
    job.run()
    api.request_time += 1_000
    assert api.insert_one("c", usage(m=1)).status == 200

    records = api.records("c").body["records"]

    assert [record["status"] for record in records] == ["metered", "metered", "metered", "pending"]


def test_what_is_over_a_page_waits_for_the_next_hour_and_is_metered_then(
    job: HourlyJob, marketplace: Marketplace
) -> None:
    dimensions = {f"{number:0>255}": 1 for number in range(25)}
    buyers = [buyer(f"c{number}", **dimensions) for number in range(160)]
    assert Api().insert_many({"buyers": buyers}).status == 200

    first_hour = job.run()

    assert 0 < first_hour < 160
    assert job.run() == 160 - first_hour
    assert set(marketplace.metered.values()) == {1}
    assert set(job.marked.values()) == {1}


def test_what_is_listed_as_metered_is_what_was_billed_hour_by_hour(
    job: HourlyJob, marketplace: Marketplace
) -> None:
    api = Api()
    hours: list[dict[str, str] | MeteringError] = [
        {},
        {"m": "CustomerNotSubscribed"},
        {"n": "Unprocessed"},
        {"m": "Unprocessed", "n": "Unprocessed"},
        {"m": "Unprocessed", "n": "DuplicateRecord"},
        MeteringError({"code": "InvalidUsageDimensionException"}),
        MeteringError({"name": "InvalidUsageDimensionException"}),
    ]
    for hour, failure in enumerate(hours):
        api.request_time += 3_600_000
        for _ in range(2):
            assert api.insert_one("c", usage(m=2**hour, n=100)).status == 200
        marketplace.failures = {"c": failure}
        job.run()
        listed = api.records("c", group_by="dimension").body["totals"]
        assert {("c", row["dimension"]): row["metered"]["quantity"] for row in listed} == {
            key: marketplace.metered[key] for key in (("c", "m"), ("c", "n"))
        }
        assert all(row["pending"]["records"] == 0 for row in listed)

    records = api.records("c").body["records"]
    assert [record["status"] for record in records] == ["metered"] * 2 + ["failed"] * 12
    assert marketplace.metered == {("c", "m"): 2 * (1 + 4), ("c", "n"): 2 * 200}


def test_a_request_of_1000_entries_of_one_customer_is_billed_in_one_run(
    job: HourlyJob, marketplace: Marketplace
) -> None:
    with_ids = [buyer("c", f"t{number}", m=1) for number in range(900)]
    assert Api().insert_many({"buyers": [*with_ids, *[buyer("c", m=1)] * 100]}).status == 200

    assert job.run() == 10

    assert marketplace.metered == {("c", "m"): 1_000}


@pytest.mark.parametrize(
    ("customer", "dimension", "create_timestamp"),
    [("constructor", "m", "1"), ("c", "__proto__", "1"), ("c", "m", str(2**53))],
)
def test_the_job_cannot_bill_what_the_api_refuses(
    job: HourlyJob, tables: DynamoDBClient, customer: str, dimension: str, create_timestamp: str
) -> None:
    tables.put_item(
        TableName=METERING_TABLE_NAME,
        Item={
            "customerIdentifier": {"S": customer},
            "create_timestamp": {"N": create_timestamp},
            "metering_pending": {"S": "true"},
            "dimension_usage": {"L": [{"M": {"dimension": {"S": dimension}, "value": {"N": "1"}}}]},
        },
    )

    with pytest.raises(JobFailedError):
        job.run()


@pytest.mark.parametrize(
    ("fault", "tries"),
    [
        (Fault.ANSWER_LOST, [200]),
        (Fault.LATE, [200]),
        (Fault.KILLED_AFTER, [None, 200]),
        (Fault.KILLED_LATE, [None, 200]),
    ],
)
def test_a_job_between_a_lost_answer_and_the_retry_meters_nothing_twice(
    run_schedule: Callable[[Schedule], Run], fault: Fault, tries: list[int | None]
) -> None:
    """That everything is metered once is checked in every run in which the job runs."""
    calls = (Call(payload=0, key=0, attempts=2),)
    arrives = (Move(1),) if fault in (Fault.LATE, Fault.KILLED_LATE) else ()
    moves = (Move(), Move(), Move(0, fault), *arrives, JobRuns())
    units = (Unit(0), Unit(0, 0), Unit(1), Unit(2), Unit(2, 0))

    run = run_schedule(Schedule(units, (Payload(tuple(range(5))),), (Day(calls, moves),)))

    assert run.statuses == [*tries, 200], "the tries, and the replay"
