"""Variants of the configuration that affect callers, each deployed to a local cloud of its own."""

import json
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote

import boto3
import pytest

from infra.config import Config
from tests.integration.http_calls import ONE_DIMENSION, listed, post, stored
from tests.integration.test_examples import EXAMPLES, run
from tools.local_cloud.api_client import Response, send
from tools.local_cloud.cloud import local_cloud
from tools.local_cloud.deploy import Api, deploy, deploy_stack, destroy_stack, read_config

if TYPE_CHECKING:
    from collections.abc import Iterator

QUOTA = 8
DOMAIN = {
    "name": "metering.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:000000000000:certificate/0c237476-b39f-4d1a-8f60-0d9d0f3c8f5e",
    "base_path": "billing/v1",
    "hosted_zone_name": "example.com",
}


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


@pytest.fixture(scope="module")
def api_at_domain() -> "Iterator[Api]":
    params = read_config().model_dump(mode="json", exclude_unset=True)
    with local_cloud(params["aws_region_name"]) as cloud:
        zone = boto3.client("route53").create_hosted_zone(Name="example.com", CallerReference="test")
        zone_id = zone["HostedZone"]["Id"].removeprefix("/hostedzone/")
        config = Config.from_context(params | {"domain": DOMAIN | {"hosted_zone_id": zone_id}})
        yield deploy(cloud, config)


def test_behind_a_domain_with_a_base_path_usage_goes_in_and_is_listed(
    api_at_domain: Api, customer: str
) -> None:
    arn = f"arn:aws:license-manager::123456789012:license/{customer}"
    for path, identifier in ((customer, customer), (quote(arn, safe=""), arn)):
        assert post(api_at_domain, f"/insertMeteringRecord/{path}", ONE_DIMENSION).status == 200
        assert len(listed(api_at_domain, path)) == 1
        buyers = {"buyers": [{"customerIdentifier": identifier, **ONE_DIMENSION}]}
        assert post(api_at_domain, "/insertMeteringRecords", buyers).status == 200
        assert len(stored(api_at_domain, identifier)) == 2


def test_behind_a_domain_the_signature_covers_host_and_base_path(api_at_domain: Api, customer: str) -> None:
    path = f"/listMeteringRecords/{customer}"
    unmapped = replace(api_at_domain, api_url=api_at_domain.api_url.removesuffix("/v1"))

    assert send(api_at_domain, "GET", path, signed=False).status == 403
    assert send(unmapped, "GET", path).status in {403, 404}


def test_the_domains_record_points_to_it(api_at_domain: Api) -> None:
    """That the default endpoint is closed shows in the template only: MiniStack goes on serving it."""
    route53 = boto3.client("route53")
    (zone,) = route53.list_hosted_zones()["HostedZones"]
    records = route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]

    (alias,) = (record for record in records if record["Type"] == "A")
    assert alias["Name"] == f"{api_at_domain.host}."
    assert ".execute-api." in alias["AliasTarget"]["DNSName"]


def test_two_products_in_one_account_do_not_meet(customer: str) -> None:
    configs = [
        Config.from_context(
            read_config().model_dump(mode="json", exclude_unset=True)
            | {
                "stack_name": f"product-{name}",
                "metering_table_name": f"MeteringRecords-{name}",
                "dimensions": [name],
                "create_metering_table": True,
                "set_api_gateway_account_role": name == "a",
            }
        )
        for name in ("a", "b")
    ]
    with local_cloud(configs[0].aws_region_name) as cloud:
        first = deploy(cloud, configs[0])
        apis = {"a": first, "b": deploy_stack(cloud, configs[1])}

        for quantity, (name, api) in enumerate(apis.items(), start=1):
            usage = {"metered_dimensions": [{"dimension_name": name, "dimension_value": quantity}]}
            answer = post(api, f"/insertMeteringRecord/{customer}", usage)
            assert answer.status == 200, answer.body

        for quantity, (name, api) in enumerate(apis.items(), start=1):
            (record,) = stored(api, customer)
            assert record["dimension_usage"] == {
                "L": [{"M": {"dimension": {"S": name}, "value": {"N": str(quantity)}}}]
            }
            (shown,) = listed(api, customer)
            assert shown["dimension_usage"][0]["value"] == quantity
            assert inserted_counts(api) == {f"product-{name}": 1}

        alarms = [
            alarm["AlarmName"] for alarm in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]
        ]
        per_product = [
            {
                alarm.removeprefix(f"product-{name}-")
                for alarm in alarms
                if alarm.startswith(f"product-{name}-")
            }
            for name in apis
        ]
        assert sum(len(names) for names in per_product) == len(alarms)
        assert all(per_product)


def inserted_counts(api: Api) -> dict[str, int]:
    """Add up the metric RecordsInserted in the product's own logs, by its dimension ``service``."""
    logs = boto3.client("logs")
    stack = boto3.client("cloudformation").describe_stack_resources(StackName=api.stack_name)
    counts: Counter[str] = Counter()
    for resource in stack["StackResources"]:
        if resource["ResourceType"] == "AWS::Logs::LogGroup":
            for event in logs.filter_log_events(logGroupName=resource["PhysicalResourceId"])["events"]:
                if '"RecordsInserted"' in event["message"]:
                    line = json.loads(event["message"])
                    counts[line["service"]] += int(sum(line["RecordsInserted"]))
    return dict(counts)


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
