"""What a function does before its first request."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"


@pytest.mark.parametrize(
    "module", ["insert_metering_record", "insert_metering_records", "list_metering_records"]
)
@pytest.mark.parametrize("value", [None, "", " "])
def test_a_function_without_its_table_fails_at_init_and_names_the_variable(
    module: str, value: str | None
) -> None:
    environment = {name: content for name, content in os.environ.items() if name != "METERING_TABLE_NAME"}
    if value is not None:
        environment["METERING_TABLE_NAME"] = value

    started = subprocess.run(  # noqa: S603 - this interpreter
        [sys.executable, "-c", f"import metering_handlers.{module}"],
        env=environment | {"PYTHONPATH": str(SOURCE)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert started.returncode != 0
    assert "The environment variable METERING_TABLE_NAME is not set" in started.stderr.splitlines()[-1]
