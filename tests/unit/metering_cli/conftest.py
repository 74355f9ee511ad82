"""Fixtures of these tests: the stub of the API, usage files, and the command line run in process."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner, Result

from metering_cli.importing import bulk
from metering_cli.importing.command import import_command
from tests.unit.metering_cli.stub_api import StubApi

PROJECT = Path(__file__).parents[3]
HEADER = "customerIdentifier,dimension_name,dimension_value\n"
FOUR = ("one,seats,1", "two,seats,2", "one,storage,3", "one,seats,1")
FOUR_STORED = [("one", "seats", 1), ("one", "seats", 1), ("one", "storage", 3), ("two", "seats", 2)]
KEY = "key-of-20-characters"


class Outcome:
    """Result of a run."""

    def __init__(self, result: Result) -> None:
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.exit_code = result.exit_code
        self.stdout = result.stdout
        self.stderr = result.stderr

    @cached_property
    def summary(self) -> dict[str, Any]:
        # Functions that are called in this process may have logged.
        summary: dict[str, Any] = json.loads(self.stdout.splitlines()[-1])
        return summary

    @property
    def places(self) -> list[tuple[int | None, str | None]]:
        """Line and column of each problem."""
        return [(problem["line"], problem["column"]) for problem in self.summary["problems"]]


@dataclass(frozen=True)
class Importer:
    """The command line; :meth:`run` adds the stub's URL, a name of the import, and ``--json``."""

    api: StubApi
    folder: Path

    def csv(self, *lines: str, name: str = "usage.csv", header: str = HEADER) -> Path:
        path = self.folder / name
        path.write_text(header + "".join(f"{line}\n" for line in lines), encoding="utf-8")
        return path

    def __call__(self, *arguments: str | Path, stdin: bytes | None = None) -> Outcome:
        return Outcome(CliRunner().invoke(import_command, [str(one) for one in arguments], input=stdin))

    def run(self, *arguments: str | Path, name: str = "2026-11", stdin: bytes | None = None) -> Outcome:
        named = ("--import-id", name) if name else ()
        return self("--api-url", self.api.url, *named, "--json", *arguments, stdin=stdin)


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("METERING_API_URL", "METERING_API_KEY", "AWS_REGION", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def api() -> Iterator[StubApi]:
    with StubApi() as stub:
        yield stub


@pytest.fixture
def importer(api: StubApi, tmp_path: Path) -> Importer:
    return Importer(api, tmp_path)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between attempts, which are recorded instead of waited for."""
    pauses: list[float] = []
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=pauses.append))
    return pauses


@pytest.fixture
def small_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """One line in each request, so that a few lines make several."""
    monkeypatch.setattr(bulk, "MAX_LINES", 1)
