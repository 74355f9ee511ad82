"""A spreadsheet's usage, imported into the deployed API by the program as its users run it."""

import json
import subprocess
import sys
import uuid
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from metering_cli.importing.bulk import Request
from metering_cli.importing.client import Client
from metering_cli.importing.command import import_command
from metering_handlers.contract.answers import Duplicate
from tests.integration.http_calls import stored, sums_of
from tests.integration.programs import run
from tools.local_cloud.deploy import Api

Lines = list[tuple[str, str, int]]


def write_csv(folder: Path, lines: Lines) -> Path:
    path = folder / "usage.csv"
    rows = [("customerIdentifier", "dimension_name", "dimension_value"), *lines]
    path.write_text("".join(f"{customer},{name},{value}\n" for customer, name, value in rows))
    return path


def import_file(api: Api, path: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "metering_cli", "import", path, "--import-id", "2026-11", "--json")
    return run(*command, "--api-url", api.api_url, *arguments, **api.caller_variables, **variables)


def added_up(lines: Lines) -> Counter[tuple[str, str]]:
    sums: Counter[tuple[str, str]] = Counter()
    for customer, name, quantity in lines:
        sums[customer, name] += quantity
    return sums


def test_every_line_is_stored_once_however_often_it_is_sent(api: Api, tmp_path: Path) -> None:
    prefix = f"arn:aws:license-manager::123456789012:license/lic-{uuid.uuid4().hex}"
    lines = [(f"{prefix}-{number % 7}", f"dimension_{number % 20}", number % 3) for number in range(300)]

    checked = import_file(api, write_csv(tmp_path, lines), "--dry-run")
    assert (checked.returncode, stored(api, prefix)) == (0, [])

    for version, written in ((lines[:200], 200), (lines[::-1], 100), (lines, 0)):
        outcome = import_file(api, write_csv(tmp_path, version))
        assert outcome.returncode == 0, outcome.stderr
        assert json.loads(outcome.stdout)["lines_written"] == written
    assert sums_of(stored(api, prefix)) == added_up(lines)


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
    assert (interrupted.exit_code, len(stored(api, prefix))) == (130, 2_000), interrupted.output

    outcome = import_file(api, path)

    assert outcome.returncode == 0, outcome.stderr
    assert json.loads(outcome.stdout)["lines_known"] == 2_000
    assert sums_of(stored(api, prefix)) == added_up(lines)


def test_a_caller_whom_the_api_does_not_know_sends_nothing(api: Api, tmp_path: Path, customer: str) -> None:
    path = write_csv(tmp_path, [(customer, "seats", 1)])

    outcome = import_file(api, path, METERING_API_KEY="no-such-key-anywhere")

    assert outcome.returncode == 3
    assert "The API answered 403" in outcome.stderr
    assert stored(api, customer) == []
