"""The hourly job, run on records that the API stored: each is metered once."""

from collections import Counter

import pytest
from mypy_boto3_dynamodb import DynamoDBClient

from tests.environment import METERING_TABLE_NAME
from tests.unit.conftest import StoredItems
from tests.unit.lambda_calls import LICENSE_ARN, Api, buyer, buyers, usage
from tools.local_cloud.hourly_job import HourlyJob, JobFailedError, Marketplace, MeteringError


@pytest.fixture
def marketplace() -> Marketplace:
    return Marketplace()


@pytest.fixture
def job(dynamodb: DynamoDBClient, marketplace: Marketplace) -> HourlyJob:
    return HourlyJob(dynamodb, METERING_TABLE_NAME, marketplace)


def test_the_quantities_metered_are_those_acknowledged(
    api: Api, job: HourlyJob, marketplace: Marketplace
) -> None:
    many = [buyer(f"c{number % 7}", storage=number, requests=1) for number in range(250)]
    of_one = [*(buyer("c", f"t{number}", m=1) for number in range(900)), *[buyer("c", m=1)] * 100]
    wide = {f"d{number}": number for number in range(25)}
    answers = [
        api.insert_many(buyers(*many)),
        api.insert_many(buyers(*of_one)),
        api.insert_one(LICENSE_ARN, usage(storage=2_147_483_647)),
        api.insert_one("heartbeat", usage(storage=0)),
        *(api.insert_one("wide", usage(**wide)) for _ in range(3)),
    ]
    assert {answer.status for answer in answers} == {200}

    assert job.run() == 7 + 10 + 2 + 3, "the records: 10 of one customer's 1,000 entries"

    expected = Counter(
        {(LICENSE_ARN, "storage"): 2_147_483_647, ("heartbeat", "storage"): 0, ("c", "m"): 1_000}
    )
    for number in range(250):
        expected.update({(f"c{number % 7}", "storage"): number, (f"c{number % 7}", "requests"): 1})
    expected.update({("wide", name): 3 * value for name, value in wide.items()})
    assert marketplace.metered == expected
    assert len(job.marked) == job.marked.total() == 7 + 10 + 2 + 3


def test_what_is_over_a_page_waits_for_the_next_hour_and_is_metered_then(
    api: Api, job: HourlyJob, marketplace: Marketplace
) -> None:
    dimensions = {f"{number:0>255}": 1 for number in range(25)}
    assert (
        api.insert_many(buyers(*(buyer(f"c{number}", **dimensions) for number in range(160)))).status == 200
    )

    first_hour = job.run()

    assert 0 < first_hour < 160
    assert job.run() == 160 - first_hour
    assert set(marketplace.metered.values()) == set(job.marked.values()) == {1}


def test_what_is_listed_as_metered_is_what_was_billed_hour_by_hour(
    api: Api, job: HourlyJob, marketplace: Marketplace
) -> None:
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
        metered = {("c", row["dimension"]): row["metered"]["quantity"] for row in listed}
        assert metered == {("c", name): marketplace.metered["c", name] for name in "mn"}
        assert all(row["pending"]["records"] == 0 for row in listed)
    api.request_time += 1_000
    api.insert_one("c", usage(m=1))

    records = api.records("c").body["records"]

    assert [record["status"] for record in records] == ["metered"] * 2 + ["failed"] * 12 + ["pending"]
    assert marketplace.metered == {("c", "m"): 2 * (1 + 4), ("c", "n"): 2 * 200}


@pytest.mark.parametrize(
    ("customer", "dimension", "create_timestamp"),
    [("constructor", "m", "1"), ("c", "__proto__", "1"), ("c", "m", str(2**53))],
)
def test_the_job_cannot_bill_what_the_api_refuses(
    stored: StoredItems, job: HourlyJob, customer: str, dimension: str, create_timestamp: str
) -> None:
    stored.put(
        customerIdentifier={"S": customer},
        create_timestamp={"N": create_timestamp},
        metering_pending={"S": "true"},
        dimension_usage={"L": [{"M": {"dimension": {"S": dimension}, "value": {"N": "1"}}}]},
    )

    with pytest.raises(JobFailedError):
        job.run()
