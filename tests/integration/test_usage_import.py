"""A spreadsheet's usage, imported into the deployed API by the program as its users run it."""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import boto3
import pytest
from click.testing import CliRunner

from metering_cli.importing.bulk import Request
from metering_cli.importing.client import Client
from metering_cli.importing.command import import_command
from metering_handlers.contract.answers import Duplicate
from tests.integration.http_calls import usage_of
from tools.local_cloud.deploy import Api

PROJECT = Path(__file__).parents[2]
PROGRAM_SECONDS = 120


def write_csv(folder: Path, lines: list[tuple[str, str, int]]) -> Path:
    path = folder / "usage.csv"
    rows = [("customerIdentifier", "dimension_name", "dimension_value"), *lines]
    path.write_text("".join(f"{customer},{name},{value}\n" for customer, name, value in rows))
    return path


def run_program(path: Path, api: Api, *arguments: str) -> subprocess.CompletedProcess[str]:
    program = [sys.executable, "-m", "metering_cli", "import", str(path), "--import-id", "2026-11", "--json"]
    return subprocess.run(  # noqa: S603 - this very program
        [*program, "--api-url", api.api_url, *arguments],
        cwd=PROJECT,
        env=os.environ | api.caller_variables,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def stored(api: Api, prefix: str) -> Counter[tuple[str, str]]:
    """Add up what is stored for customers whose identifiers have this prefix, by customer and dimension."""
    pages = (
        boto3.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=api.metering_table,
            FilterExpression="begins_with(customerIdentifier, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
    )
    sums: Counter[tuple[str, str]] = Counter()
    for page in pages:
        for item in page["Items"]:
            customer = item["customerIdentifier"]["S"]
            sums.update({(customer, name): quantity for name, quantity in usage_of(item).items()})
    return sums


def added_up(lines: list[tuple[str, str, int]]) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for customer, name, quantity in lines:
        sums[customer, name] += quantity
    return sums


def test_every_line_is_stored_once_however_often_it_is_sent(api: Api, tmp_path: Path) -> None:
    prefix = f"arn:aws:license-manager::123456789012:license/lic-{uuid.uuid4().hex}"
    lines = [(f"{prefix}-{number % 7}", f"dimension_{number % 20}", number % 3) for number in range(300)]

    checked = run_program(write_csv(tmp_path, lines), api, "--dry-run")
    between = stored(api, prefix)
    outcomes = [
        run_program(write_csv(tmp_path, version), api) for version in (lines[:200], lines[::-1], lines)
    ]

    assert [one.returncode for one in (checked, *outcomes)] == [0] * 4, outcomes[0].stderr
    assert [json.loads(one.stdout)["lines_written"] for one in outcomes] == [200, 100, 0]
    assert not between
    assert stored(api, prefix) == added_up(lines)


def test_after_an_interruption_a_rerun_loses_and_doubles_nothing(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"c-{uuid.uuid4().hex}"
    lines = [(f"{prefix}-{number}", "seats", number) for number in range(1, 2_501)]
    path = write_csv(tmp_path, lines)
    store = Client.store

    def interrupt_before_the_answer(self: Client, request: Request) -> list[Duplicate]:
        store(self, request)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(Client, "store", interrupt_before_the_answer)
        arguments = [str(path), "--import-id", "2026-11", "--api-url", api.api_url]
        interrupted = CliRunner().invoke(import_command, arguments)
    between = len(stored(api, prefix))

    outcome = run_program(path, api)

    assert (interrupted.exit_code, between) == (130, 2_000), interrupted.output
    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout)["lines_known"] == 2_000
    assert stored(api, prefix) == added_up(lines)


def test_a_caller_whom_the_api_does_not_know_sends_nothing(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"c-{uuid.uuid4().hex}"
    path = write_csv(tmp_path, [(prefix, "seats", 1)])
    monkeypatch.setenv("METERING_API_KEY", "no-such-key-anywhere")

    outcome = run_program(path, api)

    assert outcome.returncode == 3
    assert "The API answered 403" in outcome.stderr
    assert not stored(api, prefix)
