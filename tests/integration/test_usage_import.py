"""A spreadsheet's usage, imported into the deployed API by the program as its users run it."""

import json
import os
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
import pytest
from click.testing import CliRunner

from metering_cli.importing import client
from metering_cli.importing.command import import_command
from tests.integration.http_calls import usage_of

if TYPE_CHECKING:
    from metering_cli.importing.usage_file import Part
    from tools.local_cloud.deploy import Api

PROJECT = Path(__file__).parents[2]
PROGRAM_SECONDS = 120


def write_csv(folder: Path, lines: list[tuple[str, str, int]]) -> Path:
    path = folder / "usage.csv"
    rows = [("customerIdentifier", "dimension_name", "dimension_value"), *lines]
    path.write_text("".join(f"{customer},{name},{value}\n" for customer, name, value in rows))
    return path


def run_program(path: Path, api: "Api", *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - this very program
        [
            sys.executable,
            "-m",
            "metering_cli",
            "import",
            str(path),
            "--api-url",
            api.api_url,
            "--json",
            *arguments,
        ],
        cwd=PROJECT,
        env=os.environ | api.caller_variables,
        capture_output=True,
        text=True,
        timeout=PROGRAM_SECONDS,
        check=False,
    )


def stored(api: "Api", prefix: str) -> Counter[tuple[str, str]]:
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


def test_every_line_is_stored_once_however_often_the_program_is_run(api: "Api", tmp_path: Path) -> None:
    prefix = f"arn:aws:license-manager::123456789012:license/lic-{uuid.uuid4().hex}"
    lines = [(f"{prefix}-{number % 7}", f"dimension_{number % 20}", number) for number in range(300)]
    path = write_csv(tmp_path, lines)

    outcomes = [run_program(path, api), run_program(path, api)]

    assert [outcome.returncode for outcome in outcomes] == [0, 0], outcomes[0].stderr
    written = [json.loads(outcome.stdout)["records_written"] for outcome in outcomes]
    assert written == [json.loads(outcomes[0].stdout)["records"], 0]
    assert stored(api, prefix) == added_up(lines)


def test_after_an_interruption_a_rerun_loses_and_doubles_nothing(
    api: "Api", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"c-{uuid.uuid4().hex}"
    lines = [(f"{prefix}-{number}", "seats", number) for number in range(1, 2_501)]
    path = write_csv(tmp_path, lines)
    insert = client.Client.insert

    def interrupt_before_the_second_answer(self: client.Client, part: "Part", key: str) -> bool:
        was_there = insert(self, part, key)
        if part.number == 2:
            raise KeyboardInterrupt
        return was_there

    with monkeypatch.context() as patched:
        patched.setattr(client.Client, "insert", interrupt_before_the_second_answer)
        interrupted = CliRunner().invoke(import_command, [str(path), "--api-url", api.api_url])
    between = len(stored(api, prefix))

    outcome = run_program(path, api)

    assert (interrupted.exit_code, between) == (130, 2_000), interrupted.output
    assert outcome.returncode == 0, outcome.stderr
    assert stored(api, prefix) == added_up(lines)


def test_the_same_lines_without_their_journal_are_recognized_by_the_api(api: "Api", tmp_path: Path) -> None:
    prefix = f"c-{uuid.uuid4().hex}"
    lines = [(f"{prefix}-{number}", "seats", 1) for number in range(120)]
    path = write_csv(tmp_path, lines)
    run_program(path, api)
    path.with_name("usage.csv.imported.jsonl").unlink()

    again = run_program(path, api)
    further = run_program(path, api, "--import-id", "hour-11")

    assert again.returncode == 4
    assert json.loads(again.stdout)["records_already_there"] == 120
    assert further.returncode == 0
    assert stored(api, prefix) == added_up(lines + lines)


def test_a_caller_whom_the_api_does_not_know_sends_nothing(
    api: "Api", tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = f"c-{uuid.uuid4().hex}"
    path = write_csv(tmp_path, [(prefix, "seats", 1)])
    monkeypatch.setenv("METERING_API_KEY", "no-such-key-anywhere")

    outcome = run_program(path, api)

    assert outcome.returncode == 3
    assert "The API answered 403" in outcome.stderr
    assert not stored(api, prefix)
