"""The deployed API held to docs/openapi.json, by Schemathesis: every request is sent as it was generated."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tools.local_cloud.deploy import Api
from tools.local_cloud.steps import PROJECT

EXAMPLES = int(os.environ.get("CONTRACT_EXAMPLES", "25"))
"""Random requests for each operation; those that the contract's examples and limits give come on top."""
SEQUENCES = min(EXAMPLES, 100)
OPERATIONS = 3


@pytest.mark.parametrize(
    ("phases", "examples", "at_least"),
    [
        ("examples,coverage,fuzzing", EXAMPLES, EXAMPLES * OPERATIONS),
        ("stateful", SEQUENCES, SEQUENCES),
    ],
    ids=["single requests", "sequences along the links"],
)
def test_the_deployed_api_keeps_its_contract(  # noqa: PLR0917 - what the cases vary, and fixtures
    phases: str,
    examples: int,
    at_least: int,
    api: Api,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    report_file = tmp_path / "report.json"
    command = [
        str(Path(sys.executable).with_name("st")),
        "--config-file=tests/integration/contract/schemathesis.toml",
        "run",
        "docs/openapi.json",
        f"--url={api.api_url}",
        f"--phases={phases}",
        f"--max-examples={examples}",
        "--report=json",
        f"--report-json-path={report_file}",
    ]
    environment = os.environ | api.caller_variables | {"PYTHONPATH": str(PROJECT)}

    # What it has tried is worth reading, whether or not it has found something.
    with capsys.disabled():
        finished = subprocess.run(command, cwd=PROJECT, env=environment, check=False)  # noqa: S603 - ours

    assert finished.returncode == 0
    assert json.loads(report_file.read_text())["test_cases"]["generated"] >= at_least
