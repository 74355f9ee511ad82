"""The parameters in cdk.context.json."""

import json
from pathlib import Path

import pytest

from infra.config import Config, ConfigError
from tests.unit.infra.conftest import PARAMS


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
