"""Start-up of the functions."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"
INSERTS = ["insert_metering_record", "insert_metering_records"]


def last_words(module: str, **variables: str) -> str:
    """Import a function's module; return the last line of the error output."""
    started = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", f"import metering_handlers.{module}"],
        env=os.environ | {"PYTHONPATH": str(SOURCE)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert started.returncode != 0
    return started.stderr.splitlines()[-1]


@pytest.mark.parametrize("module", [*INSERTS, "list_metering_records"])
@pytest.mark.parametrize("value", ["", " "])
def test_a_function_without_its_table_fails_at_init(module: str, value: str) -> None:
    message = last_words(module, METERING_TABLE_NAME=value)

    assert "The environment variable METERING_TABLE_NAME is not set" in message


@pytest.mark.parametrize("module", INSERTS)
def test_an_insert_without_its_idempotency_table_fails_at_init(module: str) -> None:
    message = last_words(module, IDEMPOTENCY_TABLE_NAME="")

    assert "The environment variable IDEMPOTENCY_TABLE_NAME is not set" in message


@pytest.mark.parametrize("variable", ["IDEMPOTENCY_HOURS", "TRANSACTION_ID_DAYS"])
@pytest.mark.parametrize("value", ["0", "-1", "1.5", "a day"])
def test_an_insert_that_remembers_for_no_time_fails_at_init(variable: str, value: str) -> None:
    message = last_words(INSERTS[0], **{variable: value})

    assert f"{variable} must be a positive whole number, not {value!r}" in message
