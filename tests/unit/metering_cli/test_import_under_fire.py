"""Importers that die, meet, and lose answers store each line once; METERING_FIRE_RUNS runs more."""

import os
import random
import subprocess
from collections.abc import Callable
from threading import Thread
from types import SimpleNamespace

import pytest

from metering_cli.importing import bulk
from metering_cli.importing.client import Client, SendError
from metering_cli.importing.command import with_api_key
from metering_cli.importing.importer import Importer
from metering_cli.importing.usage_file import read_usage
from tests.unit.metering_cli.conftest import HEADER
from tests.unit.metering_cli.conftest import Importer as Command
from tests.unit.metering_cli.stub_api import HANG_UP, Answer, StoreBut, StubApi, problem
from tests.unit.metering_cli.test_importing import PROGRAM_SECONDS, program

RUNS = int(os.environ.get("METERING_FIRE_RUNS", "200"))
KILLS = int(os.environ.get("METERING_FIRE_KILLS", "3"))


class DeathError(BaseException):
    """The process is gone."""


class Actor:
    """Imports versions of a file until each is done, dying again and again."""

    def __init__(self, api: StubApi, seed: str, versions: list[list[str]]) -> None:
        self._chance = random.Random(seed)  # noqa: S311 - no secret
        self._client = Client(api.url, with_api_key("key"))
        self._versions = versions
        self._lives = self._chance.randrange(6)

    def run(self) -> None:
        for version in self._versions:
            while not self._imported(version):
                pass

    def _imported(self, lines: list[str]) -> bool:
        [file] = read_usage([("usage.csv", (HEADER + "\n".join(lines)).encode())], "2026-11")
        importer = Importer(self._client, lambda _: self._live(), lambda _: self._live())
        try:
            importer.store(importer.check(file.lines))
        except (DeathError, SendError):
            return False
        return True

    def _live(self) -> None:
        """Die now and then, before or after a request."""
        if self._lives and self._chance.random() < 0.2:
            self._lives -= 1
            raise DeathError


def chaos(chance: random.Random) -> Callable[[], Answer | StoreBut | None]:
    """Return what happens to the first requests: they are refused, or store all or some without an answer."""
    left = iter(range(chance.randrange(30)))

    def happen() -> Answer | StoreBut | None:
        busy = problem(503, "Busy.", {"Retry-After": "1"})
        if next(left, None) is None:
            return None
        return chance.choice(
            [
                *[None] * 5,
                *(HANG_UP, busy, problem(429, "Slow down."), problem(403, "Expired.")),
                *(StoreBut(share=chance.random()), StoreBut(busy, share=chance.random()), StoreBut()),
                StoreBut(problem(504, "Endpoint request timed out.")),
            ]
        )

    return happen


@pytest.mark.parametrize("seed", range(RUNS))
def test_two_importers_that_die_anywhere_store_each_line_once(
    api: StubApi, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The versions of a file are reordered and shorter; all of them belong to one import."""
    monkeypatch.setattr("tenacity.nap.time", SimpleNamespace(sleep=lambda _: None))
    chance = random.Random(seed)  # noqa: S311 - no secret
    monkeypatch.setattr(bulk, "MAX_LINES", chance.randrange(1, 9))
    lines = [
        (f"c{chance.randrange(4)}", f"d{chance.randrange(3)}", chance.randrange(3))
        for _ in range(chance.randrange(1, 16))
    ]
    texts = [f"{customer},{dimension},{quantity}" for customer, dimension, quantity in lines]
    api.chaos = chaos(chance)

    def versions() -> list[list[str]]:
        partial = [chance.sample(texts, chance.randrange(1, len(texts) + 1)) for _ in range(2)]
        return [*partial, chance.sample(texts, len(texts))]

    actors = [Actor(api, f"{seed}-{name}", versions()) for name in "ab"]
    threads = [Thread(target=actor.run, daemon=True) for actor in actors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not any(thread.is_alive() for thread in threads)
    assert api.usage() == sorted(lines)


def test_a_program_killed_at_any_request_stores_each_line_once(importer: Command) -> None:
    chance = random.Random(KILLS)  # noqa: S311 - no secret
    lines = [(f"customer-{number % 999}", "seats", number % 7) for number in range(6_000)]
    running: list[subprocess.Popen[str]] = []

    def kill() -> None:
        running[-1].kill()
        running[-1].wait(PROGRAM_SECONDS)

    for _ in range(KILLS):
        chance.shuffle(lines)
        path = importer.csv(
            *(f"{customer},{dimension},{quantity}" for customer, dimension, quantity in lines)
        )
        importer.api.stores.clear()
        importer.api.checks.clear()
        script = chance.choice([importer.api.stores, importer.api.checks])
        script += [*[None] * chance.randrange(3), StoreBut(meanwhile=kill, share=chance.random())]
        with program(path, importer.api.url) as process:
            running.append(process)
            process.communicate(timeout=PROGRAM_SECONDS)
        # The last rounds may find that all is stored, and send less than they were to be killed at.
        assert process.returncode in {-9, 0}
    with program(path, importer.api.url) as process:
        process.communicate(timeout=PROGRAM_SECONDS)

    assert process.returncode == 0
    assert importer.api.usage() == sorted(lines)
