"""Variants of the configuration that change what callers meet, deployed to local clouds of their own."""

import json
from typing import TYPE_CHECKING

import boto3
import pytest

from infra.config import Config
from tests.integration.http_calls import ONE_DIMENSION, post, stored
from tests.integration.test_examples import EXAMPLES, run
from tools.local_cloud.api_client import Response, send
from tools.local_cloud.cloud import local_cloud
from tools.local_cloud.deploy import Api, deploy, deploy_stack, destroy_stack, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

QUOTA = 8


def deployed(**params: object) -> "Iterator[Api]":
    config = Config.from_context(read_config().model_dump(mode="json", exclude_unset=True) | params)
    with local_cloud(config.aws_region_name) as cloud:
        yield deploy(cloud, config)


@pytest.fixture(scope="module")
def api_with_key() -> "Iterator[Api]":
    """Deploy the app as to a sandbox account: with a metering table of its own, and a key to call it."""
    yield from deployed(
        authorization="API_KEY",
        usage_plan={"rate_per_second": 1000, "burst": 1000, "requests_per_day": QUOTA},
        create_metering_table=True,
    )


@pytest.fixture
def key(api_with_key: Api) -> str:  # noqa: ARG001 - the key is the deployed API's
    (api_key,) = boto3.client("apigateway").get_api_keys(includeValues=True)["items"]
    value: str = api_key["value"]
    return value


def insert(api: Api, customer: str, headers: dict[str, str]) -> Response:
    body = json.dumps(ONE_DIMENSION).encode()
    return send(api, "POST", f"/insertMeteringRecord/{customer}", body, headers, signed=False)


def assert_is_problem(answer: Response, status: int, slug: str, advice: str) -> None:
    assert answer.status == status
    assert answer.headers["content-type"] == "application/problem+json"
    document = json.loads(answer.body)
    assert document["type"] == f"urn:marketplace-metering:problem:{slug}"
    assert document["status"] == status
    assert document["instance"]
    assert advice in document["detail"]


def test_a_key_lets_in_until_its_quota_is_used_up(api_with_key: Api, key: str) -> None:
    assert_is_problem(insert(api_with_key, "c", {}), 403, "forbidden", "x-api-key")
    assert_is_problem(insert(api_with_key, "c", {"x-api-key": "wrong" * 8}), 403, "forbidden", "x-api-key")
    assert stored(api_with_key, "c") == []

    # The example for callers with a key takes the first two of the quota, and writes one record.
    for _ in range(2):
        run([str(EXAMPLES / "insert_with_api_key.sh"), "an-hour"], api_with_key, METERING_API_KEY=key)
    assert len(stored(api_with_key, "ExWoL3vTir2")) == 1
    for _ in range(QUOTA - 2):
        assert insert(api_with_key, "c", {"x-api-key": key}).status == 200

    answer = insert(api_with_key, "c", {"x-api-key": key})
    assert_is_problem(answer, 429, "too-many-requests", "quota")
    assert len(stored(api_with_key, "c")) == QUOTA - 2


def test_the_sandboxes_table_is_the_quickstarts(api_with_key: Api) -> None:
    table = boto3.client("dynamodb").describe_table(TableName=api_with_key.metering_table)["Table"]

    assert table["KeySchema"] == [
        {"AttributeName": "customerIdentifier", "KeyType": "HASH"},
        {"AttributeName": "create_timestamp", "KeyType": "RANGE"},
    ]
    (index,) = table["GlobalSecondaryIndexes"]
    assert index["IndexName"] == "PendingMeteringRecordsIndex"


@pytest.fixture(scope="module")
def throttled_api() -> "Iterator[Api]":
    yield from deployed(throttle={"rate_per_second": 1, "burst": 1})


def test_beyond_the_throttle_callers_are_asked_to_slow_down(throttled_api: Api, customer: str) -> None:
    answers = [post(throttled_api, f"/insertMeteringRecord/{customer}", ONE_DIMENSION) for _ in range(10)]

    refused = [answer for answer in answers if answer.status != 200]
    assert refused
    for answer in refused:
        assert_is_problem(answer, 429, "too-many-requests", "Slow down")
        assert answer.headers["retry-after"] == "5"
    assert len(stored(throttled_api, customer)) == len(answers) - len(refused)


def test_a_new_deployment_finds_the_tables_that_the_deleted_one_left(customer: str) -> None:
    config = Config.from_context(
        read_config().model_dump(mode="json", exclude_unset=True) | {"create_metering_table": True}
    )
    path = f"/insertMeteringRecord/{customer}"
    headers = {"Idempotency-Key": customer}
    with local_cloud(config.aws_region_name) as cloud:
        first = deploy(cloud, config)
        assert post(first, path, ONE_DIMENSION, headers).status == 200
        destroy_stack(config)
        assert boto3.client("apigateway").get_rest_apis()["items"] == []

        second = deploy_stack(cloud, config)

        # The retry of a request that the deleted stack has written writes nothing.
        answer = post(second, path, ONE_DIMENSION, headers)
        assert (answer.status, answer.headers.get("idempotent-replayed")) == (200, "true")
        assert len(stored(second, customer)) == 1
