"""Start-up of the functions."""

import os
import subprocess
import sys

import pytest

from metering_handlers import settings
from metering_handlers.contract.identifiers import IdentifierKind


def run(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("module", "variable", "value"),
    [
        ("insert_metering_record", "METERING_TABLE_NAME", ""),
        ("insert_metering_records", "IDEMPOTENCY_TABLE_NAME", " "),
        ("list_metering_records", "METERING_TABLE_NAME", " "),
    ],
)
def test_a_function_without_its_tables_fails_at_init(module: str, variable: str, value: str) -> None:
    started = run(f"import metering_handlers.{module}", **{variable: value})

    assert started.returncode != 0
    assert f"The environment variable {variable} is not set" in started.stderr.splitlines()[-1]


def test_a_function_reads_what_its_deployment_accepts() -> None:
    code = (
        "from metering_handlers.inserting.insertion import rules;"
        "print(rules.subscribers._table_name, *rules.identifier_kinds)"
    )

    started = run(code, SUBSCRIBERS_TABLE_NAME="subscribers", CUSTOMER_IDENTIFIERS="license_arn")

    assert started.stdout.split() == ["subscribers", "license_arn"], started.stderr


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a day"])
def test_a_number_must_be_positive_and_whole(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("IDEMPOTENCY_HOURS", value)

    with pytest.raises(settings.SettingError, match=f"must be a positive whole number, not {value!r}"):
        settings.required_int("IDEMPOTENCY_HOURS")


def test_identifier_kinds_are_named_or_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.choices("CUSTOMER_IDENTIFIERS", IdentifierKind) == set(IdentifierKind)

    monkeypatch.setenv("CUSTOMER_IDENTIFIERS", "license_arn, account_id")
    kinds = {IdentifierKind.LICENSE_ARN, IdentifierKind.ACCOUNT_ID}
    assert settings.choices("CUSTOMER_IDENTIFIERS", IdentifierKind) == kinds

    monkeypatch.setenv("CUSTOMER_IDENTIFIERS", "license_arn,arn")
    with pytest.raises(settings.SettingError, match="takes legacy, account_id, license_arn: 'arn'"):
        settings.choices("CUSTOMER_IDENTIFIERS", IdentifierKind)
