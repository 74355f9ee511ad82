"""Fixtures of these tests: the stub of the API, a CSV file, and the command line run in process."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from metering_cli.importing import usage_file
from metering_cli.importing.command import import_command
from tests.unit.metering_cli.stub_api import StubApi

PROJECT = Path(__file__).parents[3]
HEADER = "customerIdentifier,dimension_name,dimension_value\n"

WriteCsv = Callable[..., Path]


class Outcome:
    """Result of a run."""

    def __init__(self, result: Result) -> None:
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.exit_code = result.exit_code
        self.stderr = result.stderr
        self.summary: dict[str, Any] = json.loads(result.stdout) if result.stdout else {}


@dataclass(frozen=True)
class Importer:
    """The command line, with the stub's URL and ``--json``."""

    api: StubApi

    def __call__(self, path: Path, *arguments: str, env: dict[str, str] | None = None) -> Outcome:
        result = CliRunner().invoke(import_command, [str(path), "--json", *arguments], env=env)
        return Outcome(result)

    def run(self, path: Path, *arguments: str) -> Outcome:
        return self(path, "--api-url", self.api.url, *arguments)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METERING_API_URL", "METERING_API_KEY", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def api() -> Iterator[StubApi]:
    with StubApi() as stub:
        yield stub


@pytest.fixture
def importer(api: StubApi) -> Importer:
    return Importer(api)


@pytest.fixture
def write_csv(tmp_path: Path) -> WriteCsv:
    def write(*lines: str, name: str = "usage.csv") -> Path:
        path = tmp_path / name
        path.write_text(HEADER + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    return write


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are recorded instead of waited for."""
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=pauses.append))
    return pauses


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """One record in each request, so that a few lines make several."""
    monkeypatch.setattr(usage_file, "MAX_PART_RECORDS", 1)


def age_journal(csv_path: Path, hours: float) -> None:
    """Make the journal's entries older."""
    path = csv_path.with_name(csv_path.name + ".imported.jsonl")
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    for entry in entries:
        entry["at"] = (datetime.fromisoformat(entry["at"]) - timedelta(hours=hours)).isoformat()
    path.write_text("".join(json.dumps(entry) + "\n" for entry in entries))
