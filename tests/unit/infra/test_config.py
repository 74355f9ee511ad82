"""The parameters in cdk.context.json."""

import json
import re
from pathlib import Path

import pytest

from infra.config import Config, ConfigError, read_context
from tests.unit.infra.stacks import DOMAIN, KEY_ARN, PARAMS, PROJECT, REGIONS

API_KEY = {"authorization": "API_KEY"}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
def test_the_command_line_overrides_the_file(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "cdk.context.json"
    file.write_text(json.dumps({"params": PARAMS, "kept": "é"}), encoding=encoding)

    context = read_context(file, ['params={"waf": true}', "empty", "a=b=c"])

    assert context == {"params": '{"waf": true}', "kept": "é", "empty": "", "a": "b=c"}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"{", "cdk.context.json is not JSON"),
        (b"\xff", "cdk.context.json is not JSON"),
        (b"[]", 'cdk.context.json has no "params"'),
        (b'{"params": []}', r"params must be an object, not \[\]"),
        (b'{"params": "{"}', "params must be an object, not '{'"),
        (b'{"params": {}}', r"params\.aws_region_name is missing\. AWS region to deploy to.*params\.meter"),
    ],
)
def test_a_file_without_parameters_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    """All parameters that are missing are named at once."""
    file = tmp_path / "cdk.context.json"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=message):
        Config.from_context(read_context(file).get("params"))


def test_the_parameters_of_the_repository_are_valid() -> None:
    context = read_context(PROJECT / "cdk.context.json")

    assert Config.from_context(context["params"])
    assert Config.from_context(json.dumps(context["params"])) == Config.from_context(context["params"])


@pytest.mark.parametrize("region", [*REGIONS.values(), "eu-central-1", "ap-southeast-7", "us-newest-9"])
def test_every_region_is_accepted(region: str) -> None:
    assert Config.from_context(PARAMS | {"aws_region_name": region}).aws_region_name == region


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"metering_tabel_name": "x"}, "params.metering_tabel_name is not a known parameter"),
        ({"aws_region_name": "<aws_region_name>"}, "(the placeholder was never filled in)"),
        ({"aws_region_name": "Frankfurt"}, 'to deploy to, such as "us-east-1"'),
        ({"aws_region_name": "eu-central"}, "params.aws_region_name cannot be 'eu-central'"),
        ({"aws_region_name": "xx-west-1"}, "no partition of AWS has a region of that name"),
        ({"aws_region_name": 1}, "params.aws_region_name cannot be 1: "),
        ({"metering_table_name": "a b"}, "params.metering_table_name cannot be 'a b'"),
        ({"idempotency_hours": 23}, "cannot be 23: Input should be greater than or equal to 24"),
        ({"idempotency_hours": "24"}, "params.idempotency_hours cannot be '24'"),
        ({"transaction_id_days": 401}, "params.transaction_id_days cannot be 401"),
        ({"authorization": "OPEN"}, "Input should be 'IAM', 'API_KEY' or 'NONE'"),
        ({"authorization": "NONE"}, "bill, so it needs params.allowed_cidrs"),
        ({"usage_plan": {"burst": 1}}, 'params.usage_plan needs params.authorization "API_KEY"'),
        (API_KEY | {"usage_plan": {"burst": 0}}, "params.usage_plan.burst cannot be 0: "),
        (API_KEY | {"usage_plan": {"per_day": 1}}, "params.usage_plan.per_day is not a known parameter"),
        (API_KEY | {"usage_plan": {"requests_per_day": 1.5}}, "Quota of requests per day"),
        ({"domain": "metering.example.com"}, "params.domain cannot be 'metering.example.com'"),
        ({"domain": {}}, "params.domain.name is missing. Host name in lower case"),
        ({"domain": DOMAIN | {"name": "Metering.example.com"}}, "Host name in lower case"),
        ({"domain": DOMAIN | {"base_path": "/billing"}}, "without a slash at its ends"),
        ({"domain": DOMAIN | {"base_path": "a//b"}}, "params.domain.base_path cannot be 'a//b'"),
        (
            {"aws_region_name": "eu-west-1", "domain": DOMAIN},
            "certificate_arn is in us-east-1, but the API is in eu-west-1 and needs a certificate in its own",
        ),
        ({"domain": DOMAIN | {"hosted_zone_id": "Z1"}}, "need each other: set both"),
        (
            {"domain": DOMAIN | {"hosted_zone_id": "Z1", "hosted_zone_name": "ample.com"}},
            "metering.example.com does not end with .ample.com",
        ),
        ({"allowed_cidrs": "203.0.113.0/24"}, "params.allowed_cidrs cannot be '203.0.113.0/24'"),
        ({"allowed_cidrs": ["203.0.113.7/24"]}, "params.allowed_cidrs.0 cannot be '203.0.113.7/24'"),
        ({"allowed_cidrs": ["0.0.0.0/0"]}, "this is the whole internet"),
        ({"throttle": 10}, "params.throttle cannot be 10"),
        ({"alarm_email": "nobody"}, "params.alarm_email cannot be 'nobody'"),
        ({"log_level": "DEBUG"}, "Input should be 'INFO', 'WARNING' or 'ERROR'"),
        ({"log_retention_days": 91}, "Input should be 1, 3, 5, 7, 14"),
        ({"metering_table_kms_key_arn": "alias/mine"}, "customer managed key"),
        (
            {"metering_table_kms_key_arn": KEY_ARN, "create_metering_table": True},
            "params.metering_table_kms_key_arn is about an existing table",
        ),
        ({"customer_identifiers": []}, "params.customer_identifiers cannot be []"),
        ({"customer_identifiers": ["arn"]}, "params.customer_identifiers.0 cannot be 'arn'"),
        ({"waf": 1}, "params.waf cannot be 1: Input should be a valid boolean"),
    ],
)
def test_a_bad_parameter_is_named_with_the_reason(params: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_context(PARAMS | params)

    assert message in str(caught.value)


def test_every_parameter_is_documented() -> None:
    table = (PROJECT / "docs" / "configuration.md").read_text(encoding="utf-8")

    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(Config.model_fields)
