"""What someone who deploys for the first time is told."""

from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from infra import preflight
from infra.preflight import NotReadyError, check


@pytest.fixture
def account() -> Iterator[None]:
    with mock_aws():
        yield


def test_an_account_that_is_prepared_is_ready(account: None) -> None:  # noqa: ARG001
    boto3.client("ssm").put_parameter(Name="/cdk-bootstrap/hnb659fds/version", Value="28", Type="String")

    check()


def test_without_bootstrap_the_command_to_run_is_named(account: None) -> None:  # noqa: ARG001
    with pytest.raises(NotReadyError, match="cdk bootstrap aws://123456789012/us-east-1"):
        check()


def test_without_credentials_the_ways_to_log_in_are_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(variable)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    for variable in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.setenv(variable, str(tmp_path / "none"))

    with pytest.raises(NotReadyError, match="No AWS credentials were found"):
        check()


def test_a_placeholder_in_the_configuration_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    context = tmp_path / "cdk.context.json"
    context.write_text('{"params": {"aws_region_name": "<aws_region_name>", "metering_table_name": "abc"}}')
    monkeypatch.setattr(preflight, "_CONTEXT_FILE", context)

    with pytest.raises(NotReadyError, match="the placeholder was never filled in"):
        check()
