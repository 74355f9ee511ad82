"""Start-up of the functions."""

import os
import subprocess
import sys

import pytest

from metering_handlers import settings
from metering_handlers.contract.identifiers import IdentifierKind


def last_words(module: str, **variables: str) -> str:
    """Import a function's module; return the last line of the error output."""
    started = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", f"import metering_handlers.{module}"],
        env=os.environ | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode != 0
    return started.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("module", "variable", "value"),
    [
        ("insert_metering_record", "METERING_TABLE_NAME", ""),
        ("insert_metering_records", "IDEMPOTENCY_TABLE_NAME", " "),
        ("list_metering_records", "METERING_TABLE_NAME", " "),
    ],
)
def test_a_function_without_its_tables_fails_at_init(module: str, variable: str, value: str) -> None:
    message = last_words(module, **{variable: value})

    assert f"The environment variable {variable} is not set" in message


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


def test_a_function_reads_what_its_deployment_accepts() -> None:
    code = (
        "from metering_handlers.inserting.insertion import rules;"
        "print(rules.subscribers._table_name, *rules.identifier_kinds)"
    )
    variables = {"SUBSCRIBERS_TABLE_NAME": "subscribers", "CUSTOMER_IDENTIFIERS": "license_arn"}
    started = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", code], env=os.environ | variables, capture_output=True, text=True, check=True
    )

    assert started.stdout.split() == ["subscribers", "license_arn"]
