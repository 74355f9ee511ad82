"""Fixtures of these tests: the stub of the API, usage files, and the command line run in process."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from metering_cli.importing import client
from metering_cli.importing.command import import_command
from tests.serving import serving
from tests.unit.metering_cli.stub_api import StubApi

PROJECT = Path(__file__).parents[3]
HEADER = "customerIdentifier,dimension_name,dimension_value\n"
WITH_IDS = HEADER.strip() + ",transaction_id\n"
FOUR = ("one,seats,1", "two,seats,2", "one,storage,3", "one,seats,1")
FOUR_STORED = [("one", "seats", 1), ("one", "seats", 1), ("one", "storage", 3), ("two", "seats", 2)]
KEY = "key-of-20-characters"


def summary(outcome: Result) -> dict[str, Any]:
    # Functions that are called in this process may have logged.
    parsed: dict[str, Any] = json.loads(outcome.stdout.splitlines()[-1])
    return parsed


def refusal(outcome: Result) -> tuple[int, list[tuple[int | None, str | None]]]:
    """Exit code, and line and column of each problem."""
    problems = summary(outcome)["problems"]
    return outcome.exit_code, [(problem["line"], problem["column"]) for problem in problems]


@dataclass(frozen=True)
class Importer:
    """The command line; :meth:`run` adds the stub's URL, a name of the import, and ``--json``."""

    api: StubApi
    folder: Path

    def csv(self, *lines: str, name: str = "usage.csv", header: str = HEADER) -> Path:
        path = self.folder / name
        path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def __call__(self, *arguments: str | Path, stdin: bytes | None = None) -> Result:
        given = [str(argument) for argument in arguments]
        return CliRunner(catch_exceptions=False).invoke(import_command, given, input=stdin)

    def run(self, *arguments: str | Path, name: str = "2026-11", stdin: bytes | None = None) -> Result:
        named = ("--import-id", name) if name else ()
        return self("--api-url", self.api.url, *named, "--json", *arguments, stdin=stdin)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METERING_API_URL", "METERING_API_KEY", "AWS_REGION", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,localhost")


@pytest.fixture
def api() -> StubApi:
    return StubApi()


@pytest.fixture
def importer(api: StubApi, tmp_path: Path) -> Iterator[Importer]:
    with serving(api.respond) as url:
        api.url = f"{url}/prod"
        yield Importer(api, tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which take no time but that of the client's clock."""
    pauses: list[float] = []
    clock = SimpleNamespace(sleep=pauses.append, monotonic=lambda: sum(pauses))
    monkeypatch.setattr(client, "time", clock)
    return pauses
