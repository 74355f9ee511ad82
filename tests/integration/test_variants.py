"""Variants of the configuration that affect callers."""

import json
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from urllib.parse import quote

import boto3
import pytest
import requests

from infra.config import Config
from tests.integration.http_calls import MANY, assert_is_problem, insert, listed, post, stored, sums_of, usage
from tests.integration.programs import output_of
from tests.integration.test_examples import CUSTOMER
from tools.example_requests import FOLDER
from tools.local_cloud.api_client import send
from tools.local_cloud.cloud import Cloud, local_cloud
from tools.local_cloud.deploy import Api, deploy, deploy_stack, destroy_stack, read_config, stack_resources

DOMAIN = {
    "name": "metering.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:000000000000:certificate/0c237476-b39f-4d1a-8f60-0d9d0f3c8f5e",
    "base_path": "billing/v1",
    "hosted_zone_name": "example.com",
}
QUOTA = 8
BURST = 3
PRODUCTS: dict[str, dict[str, object]] = {
    # As in a sandbox account: with a metering table of its own, and a key to call it.
    "a": {
        "authorization": "API_KEY",
        "usage_plan": {"rate_per_second": 1000, "burst": 1000, "requests_per_day": QUOTA},
        "dimensions": ["m", "metered_1_id"],
    },
    "b": {"throttle": {"rate_per_second": 1, "burst": BURST}, "dimensions": ["n"]},
}


@dataclass(frozen=True)
class Products:
    """Two products in one account, and what is needed to deploy one again."""

    a: Api
    b: Api
    cloud: Cloud


@pytest.fixture(scope="module")
def products() -> Iterator[Products]:
    with local_cloud(read_config().aws_region_name) as cloud:
        yield Products(deploy(cloud, config_of("a")), deploy_stack(cloud, config_of("b")), cloud)


def config_of(product: str) -> Config:
    return read_config(
        stack_name=f"product-{product}",
        metering_table_name=f"MeteringRecords-{product}",
        create_metering_table=True,
        set_api_gateway_account_role=product == "a",
        **PRODUCTS[product],
    )


def key_of_a() -> str:
    (key,) = boto3.client("apigateway").get_api_keys(includeValues=True)["items"]
    value: str = key["value"]
    return value


def insert_with_key(api: Api, customer: str, key: str | None) -> requests.Response:
    headers = {"x-api-key": key} if key else {}
    body = json.dumps(usage()).encode()
    return send(api, "POST", f"/insertMeteringRecord/{customer}", body, headers, signed=False)


def run_example(api: Api) -> None:
    program = FOLDER / "insert_with_api_key.sh"
    output_of(program, "an-hour", METERING_API_URL=api.api_url, METERING_API_KEY=key_of_a())


def test_two_products_in_one_account_do_not_meet(products: Products, customer: str) -> None:
    assert insert_with_key(products.a, customer, key_of_a()).status_code == 200
    assert insert(products.b, customer, usage(1, "n")).status_code == 200

    for api, dimension in ((products.a, "m"), (products.b, "n")):
        assert sums_of(stored(api, customer)) == {(customer, dimension): 1}
        assert inserted_counts(api) == {api.stack_name: 1}
    alarms = [alarm["AlarmName"] for alarm in boto3.client("cloudwatch").describe_alarms()["MetricAlarms"]]
    per_product = [sum(alarm.startswith(f"product-{name}-") for alarm in alarms) for name in PRODUCTS]
    assert all(per_product)
    assert sum(per_product) == len(alarms)


def inserted_counts(api: Api) -> Counter[str]:
    """Add up the metric RecordsInserted in the product's own logs, by its dimension ``service``."""
    logs = boto3.client("logs")
    counts: Counter[str] = Counter()
    for group in stack_resources(api.stack_name)["AWS::Logs::LogGroup"]:
        for event in logs.filter_log_events(logGroupName=group)["events"]:
            if '"RecordsInserted"' in event["message"]:
                line = json.loads(event["message"])
                counts[line["service"]] += int(sum(line["RecordsInserted"]))
    return counts


def test_a_key_lets_in_until_its_quota_is_used_up(products: Products, customer: str) -> None:
    api, key = products.a, key_of_a()
    for wrong in (None, "wrong" * 8):
        assert_is_problem(insert_with_key(api, customer, wrong), 403, "forbidden", "x-api-key")
    assert stored(api, customer) == []
    for _ in range(2):
        run_example(api)
    assert len(stored(api, CUSTOMER)) == 1

    answers = [insert_with_key(api, customer, key) for _ in range(QUOTA)]

    accepted = [answer for answer in answers if answer.status_code == 200]
    assert 0 < len(accepted) < QUOTA
    assert_is_problem(answers[-1], 429, "too-many-requests", "quota")
    assert len(stored(api, customer)) == len(accepted)


def test_beyond_the_throttle_callers_are_asked_to_slow_down(products: Products, customer: str) -> None:
    with ThreadPoolExecutor(5 * BURST) as clients:
        calls = [clients.submit(insert, products.b, customer, usage(1, "n")) for _ in range(5 * BURST)]
    answers = [call.result() for call in calls]

    refused = [answer for answer in answers if answer.status_code != 200]
    assert refused
    for answer in refused:
        assert_is_problem(answer, 429, "too-many-requests", "Slow down")
        assert answer.headers["retry-after"] == "5"
    assert len(stored(products.b, customer)) == len(answers) - len(refused)


def test_a_new_deployment_finds_the_tables_that_the_deleted_one_left(products: Products) -> None:
    """The repeat of a request to the deleted stack, whose quota was used up, writes nothing."""
    before = stored(products.a, CUSTOMER)
    destroy_stack(config_of("a"))
    assert len(boto3.client("apigateway").get_rest_apis()["items"]) == 1

    again = deploy_stack(products.cloud, config_of("a"))

    run_example(again)
    assert stored(again, CUSTOMER) == before


@pytest.fixture(scope="module")
def api_at_domain() -> Iterator[Api]:
    with local_cloud(read_config().aws_region_name) as cloud:
        zone = boto3.client("route53").create_hosted_zone(Name="example.com", CallerReference="test")
        zone_id = zone["HostedZone"]["Id"].removeprefix("/hostedzone/")
        yield deploy(cloud, read_config(domain=DOMAIN | {"hosted_zone_id": zone_id}))


def test_behind_a_domain_with_a_base_path_usage_goes_in_and_is_listed(
    api_at_domain: Api, customer: str
) -> None:
    arn = f"arn:aws:license-manager::123456789012:license/{customer}"
    for path, identifier in ((customer, customer), (quote(arn, safe=""), arn)):
        assert insert(api_at_domain, path, usage()).status_code == 200
        assert len(listed(api_at_domain, path)) == 1
        buyers = [usage(customerIdentifier=identifier)]
        assert post(api_at_domain, MANY, {"buyers": buyers}).status_code == 200
        assert len(stored(api_at_domain, identifier)) == 2


def test_behind_a_domain_the_signature_covers_host_and_base_path(api_at_domain: Api, customer: str) -> None:
    path = f"/listMeteringRecords/{customer}"
    unmapped = replace(api_at_domain, api_url=api_at_domain.api_url.removesuffix("/v1"))

    assert send(api_at_domain, "GET", path, signed=False).status_code == 403
    assert send(unmapped, "GET", path).status_code in {403, 404}


def test_the_domains_record_points_to_it(api_at_domain: Api) -> None:
    """That the default endpoint is closed shows in the template only: MiniStack goes on serving it."""
    route53 = boto3.client("route53")
    (zone,) = route53.list_hosted_zones()["HostedZones"]
    records = route53.list_resource_record_sets(HostedZoneId=zone["Id"])["ResourceRecordSets"]

    (alias,) = (record for record in records if record["Type"] == "A")
    assert alias["Name"] == f"{api_at_domain.host}."
    assert ".execute-api." in alias["AliasTarget"]["DNSName"]
