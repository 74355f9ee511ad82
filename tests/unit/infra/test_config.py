"""The parameters in cdk.context.json."""

import json
from pathlib import Path

import pytest

from infra.config import Config, ConfigError
from tests.unit.infra.conftest import PARAMS
from tests.unit.infra.variants import DOMAIN

API_KEY = PARAMS | {"authorization": "API_KEY"}
KEY_ARN = "arn:aws:kms:us-east-1:123456789012:key/0c237476-b39f-44d9-9044-1d2b3f4e5a6b"


def test_the_file_in_the_repository_is_valid() -> None:
    document = json.loads((Path(__file__).parents[3] / "cdk.context.json").read_text())

    Config.from_context(document["params"])


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "ap-southeast-7", "il-central-1"])
def test_any_region_name_is_accepted(region: str) -> None:
    assert Config.from_context(PARAMS | {"aws_region_name": region}).aws_region_name == region


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (None, 'cdk.context.json has no "params"'),
        ([], "params must be an object, not []"),
        ({}, "params.aws_region_name is missing; it must be the name of an AWS region"),
        (PARAMS | {"aws_region_name": "<aws_region_name>"}, "the placeholder was never filled in"),
        (
            PARAMS | {"aws_region_name": "Frankfurt"},
            "params.aws_region_name must be the name of an AWS region",
        ),
        (PARAMS | {"aws_region_name": 1}, 'such as "us-east-1", not 1'),
        (PARAMS | {"metering_table_name": "a b"}, "params.metering_table_name must be the name of"),
        (
            PARAMS | {"idempotency_hours": 23},
            "must be a whole number of hours from 24 to 720 (30 days), not 23",
        ),
        (PARAMS | {"idempotency_hours": "24"}, "params.idempotency_hours must be a whole number of hours"),
        (
            PARAMS | {"transaction_id_days": 34},
            "params.transaction_id_days must be a whole number of days from 35 to 400, not 34",
        ),
        (PARAMS | {"transaction_id_days": 401}, "a whole number of days from 35 to 400, not 401"),
        (PARAMS | {"transaction_id_days": "90"}, "a whole number of days from 35 to 400, not '90'"),
        (PARAMS | {"authorization": "OPEN"}, 'params.authorization must be "IAM", "API_KEY" or "NONE"'),
        (
            PARAMS | {"authorization": "NONE"},
            "lets anybody write to your bill, so it needs params.allowed_cidrs",
        ),
        (PARAMS | {"usage_plan": {"burst": 1}}, 'params.usage_plan needs params.authorization "API_KEY"'),
        (
            API_KEY | {"usage_plan": {"burst": 0}},
            "params.usage_plan.burst must be a whole number of requests",
        ),
        (API_KEY | {"usage_plan": {"per_day": 1}}, "params.usage_plan.per_day is not a known parameter"),
        (API_KEY | {"usage_plan": {"requests_per_day": 1.5}}, "params.usage_plan.requests_per_day must be"),
        (PARAMS | {"domain": "metering.example.com"}, "params.domain must be an object with name"),
        (PARAMS | {"domain": {}}, "params.domain.name is missing; it must be a host name in lower case"),
        (PARAMS | {"domain": DOMAIN | {"name": "Metering.example.com"}}, "a host name in lower case"),
        (PARAMS | {"domain": DOMAIN | {"base_path": "/billing"}}, "without a slash at its ends"),
        (
            PARAMS | {"domain": DOMAIN | {"base_path": "billing//v1"}},
            "params.domain.base_path must be a path",
        ),
        (
            PARAMS | {"aws_region_name": "eu-west-1", "domain": DOMAIN},
            "certificate_arn is in us-east-1, but the API is in eu-west-1 and needs a certificate in its own",
        ),
        (PARAMS | {"domain": DOMAIN | {"hosted_zone_id": "Z1"}}, "need each other: set both"),
        (
            PARAMS | {"domain": DOMAIN | {"hosted_zone_id": "Z1", "hosted_zone_name": "ample.com"}},
            "metering.example.com does not end with .ample.com",
        ),
        (PARAMS | {"allowed_cidrs": "203.0.113.0/24"}, "params.allowed_cidrs must be a list of networks"),
        (PARAMS | {"allowed_cidrs": ["203.0.113.7/24"]}, "params.allowed_cidrs.0 must be a network in CIDR"),
        (PARAMS | {"allowed_cidrs": ["0.0.0.0/0"]}, "and not the whole internet, not '0.0.0.0/0'"),
        (PARAMS | {"throttle": {"rate_per_second": "10"}}, "params.throttle.rate_per_second must be a whole"),
        (PARAMS | {"throttle": 10}, "params.throttle must be an object with rate_per_second and burst"),
        (PARAMS | {"alarm_email": "nobody"}, "params.alarm_email must be an e-mail address, not 'nobody'"),
        (PARAMS | {"log_level": "DEBUG"}, 'params.log_level must be "INFO", "WARNING" or "ERROR"'),
        (PARAMS | {"log_retention_days": 91}, "params.log_retention_days must be one of 1, 3, 5, 7, 14"),
        (PARAMS | {"metering_table_kms_key_arn": "alias/mine"}, "must be the ARN of a KMS key"),
        (
            PARAMS | {"metering_table_kms_key_arn": KEY_ARN, "create_metering_table": True},
            "params.metering_table_kms_key_arn is about an existing table",
        ),
        (PARAMS | {"create_metering_table": "yes"}, "params.create_metering_table must be true or false"),
        (PARAMS | {"lambda_architecture": "arm"}, 'params.lambda_architecture must be "arm64" or "x86_64"'),
        (PARAMS | {"waf": 1}, "params.waf must be true or false"),
        ("{", "cdk.context.json: params must be"),
        (PARAMS | {"metering_tabel_name": "x"}, "params.metering_tabel_name is not a known parameter"),
    ],
)
def test_a_bad_parameter_is_named_with_what_to_write_instead(params: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_context(params)

    assert message in str(caught.value)


def test_all_bad_parameters_are_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        Config.from_context({"aws_region_name": "nowhere"})

    assert "params.aws_region_name" in str(caught.value)
    assert "params.metering_table_name" in str(caught.value)


def test_the_command_line_may_give_the_parameters_as_json_text() -> None:
    assert Config.from_context(json.dumps(PARAMS)) == Config.from_context(PARAMS)
