"""The app's stack, synthesized in process and without bundling, for each configuration once."""

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import aws_cdk as cdk
from aws_cdk.assertions import Template

from infra.config import Config
from infra.metering_records_stack import MeteringRecordsStack

PROJECT = Path(__file__).parents[3]
PARAMS = {"aws_region_name": "us-east-1", "metering_table_name": "AWSMarketplaceMeteringRecords"}
# pip would run for minutes over all tests; that the bundle works shows in the integration tests.
CONTEXT = json.loads((PROJECT / "cdk.json").read_text())["context"] | {"aws:cdk:bundling-stacks": []}
KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/0c237476-b39f-44d9-9044-1d2b3f4e5a6b"
DOMAIN = {
    "name": "metering.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/0c237476-b39f-4d1a-8f60-0d9d0f3c8f5e",
}
ZONE = {"hosted_zone_id": "Z0123456789ABCDEFGHIJ", "hosted_zone_name": "example.com"}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "api key and networks": {
        "authorization": "API_KEY",
        "usage_plan": {"requests_per_day": 1000},
        "allowed_cidrs": ["203.0.113.0/24"],
        "throttle": {"rate_per_second": 1, "burst": 1},
        "lambda_architecture": "x86_64",
    },
    "networks only": {
        "authorization": "NONE",
        "allowed_cidrs": ["203.0.113.0/24", "2001:db8::/32"],
        "domain": DOMAIN | ZONE | {"base_path": "billing"},
        "alarm_email": "operator@example.com",
        "expected_usage_hours": 26,
        "job_records_per_hour": 6_000,
        "log_level": "ERROR",
        "log_retention_days": 1,
    },
    "sandbox signed from networks, with a firewall": {
        "allowed_cidrs": ["203.0.113.0/24"],
        "waf": True,
        "idempotency_hours": 720,
        "transaction_id_days": 400,
        "create_metering_table": True,
        "set_api_gateway_account_role": False,
    },
    "own domain": {"domain": DOMAIN},
    "one of several products": {
        "domain": DOMAIN | ZONE | {"base_path": "billing/v1", "keep_default_endpoint": True},
        "metering_table_kms_key_arn": KEY_ARN,
        "subscribers_table_name": "AWSMarketplaceSubscribers",
        "customer_identifiers": ["license_arn"],
        "stack_name": "product-b",
        "dimensions": ["metered_1_id", "metered_2_id"],
    },
}


def synthesize(context: Mapping[str, str] | None = None, /, **params: object) -> Template:
    return _synthesize(json.dumps(context or {}), json.dumps(params))


@cache
def _synthesize(context: str, params: str) -> Template:
    with TemporaryDirectory() as outdir:
        app = cdk.App(context=CONTEXT | json.loads(context), outdir=outdir)
        return Template.from_stack(
            MeteringRecordsStack(app, Config.from_context(PARAMS | json.loads(params)))
        )


REGIONS = {
    "aws": "us-east-1",
    "aws-us-gov": "us-gov-west-1",
    "aws-cn": "cn-north-1",
    "aws-eusc": "eusc-de-east-1",
}
"""A region of each partition."""


def properties(template: Template, kind: str) -> list[dict[str, Any]]:
    """The properties of all resources of a kind, such as Lambda::Function."""
    return [found.get("Properties", {}) for found in template.find_resources(f"AWS::{kind}").values()]


def alarms(template: Template) -> dict[str, dict[str, Any]]:
    """The alarms, by section of the runbook."""
    return {
        re.search(r"section (\w+)\.$", alarm["AlarmDescription"])[1]: alarm  # type: ignore[index]
        for alarm in properties(template, "CloudWatch::Alarm")
    }
