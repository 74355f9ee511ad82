"""The examples, run as their readers would run them, against the deployed API."""

import os
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.http_calls import stored

if TYPE_CHECKING:
    from tools.local_cloud.deploy import Api

EXAMPLES = Path(__file__).parents[2] / "examples"
CUSTOMER = "ExWoL3vTir2"


def run(command: list[str], api: "Api", **variables: str) -> str:
    finished = subprocess.run(  # noqa: S603 - the project's own examples
        command,
        env=os.environ | {"METERING_API_URL": api.api_url, "AWS_REGION": api.region} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout


@pytest.mark.parametrize(
    "command",
    [
        [str(EXAMPLES / "insert.sh")],
        [sys.executable, str(EXAMPLES / "insert.py")],
        ["node", str(EXAMPLES / "insert.mjs")],
    ],
    ids=["curl", "python", "node"],
)
def test_an_example_reports_usage_once_however_often_it_is_run(api: "Api", command: list[str]) -> None:
    before = len(stored(api, CUSTOMER))
    hour = str(uuid.uuid4())

    first = run([*command, hour], api)
    run([*command, hour], api)

    assert len(stored(api, CUSTOMER)) == before + 1
    assert CUSTOMER in first
