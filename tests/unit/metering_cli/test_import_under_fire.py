"""Importers that die, meet, and lose answers store each line once; METERING_FIRE_RUNS runs more."""

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread

import pytest
from requests import PreparedRequest
from werkzeug.wrappers import Response

from metering_cli.importing import bulk
from metering_cli.importing.client import Client, SendError
from metering_cli.importing.command import run_import
from metering_cli.importing.summary import Summary
from tests.unit.metering_cli.conftest import KEY, PROJECT, Importer
from tests.unit.metering_cli.stub_api import HANG_UP, Step, problem

RUNS = int(os.environ.get("METERING_FIRE_RUNS", "200"))
PROGRAM_SECONDS = 60


class DeathError(BaseException):
    """The process is gone."""


def write(importer: Importer, lines: Sequence[tuple[str, str, int]], name: str = "usage.csv") -> Path:
    texts = (f"{customer},{dimension},{quantity}" for customer, dimension, quantity in lines)
    return importer.csv(*texts, name=name)


def import_all(api_url: str, versions: Sequence[Path], chance: random.Random) -> None:
    """Import versions of a file until each is done, dying now and then, before a request."""
    deaths = chance.randrange(6)

    def live(request: PreparedRequest) -> PreparedRequest:
        nonlocal deaths
        if deaths and chance.random() < 0.2:
            deaths -= 1
            raise DeathError
        return request

    client = Client(api_url, live, lambda _: None)
    left = [*versions]
    while left:
        try:
            run_import(client, left[:1], Summary("2026-11"), dry_run=False)
        except (DeathError, SendError):
            continue
        del left[0]


def chaos(chance: random.Random) -> Iterator[Step | Response]:
    """Yield what happens to the first requests: they are refused, or store all or some without an answer."""
    for _ in range(chance.randrange(30)):
        busy = problem(503, "Busy.", retry_after="1")
        steps: list[Step | Response] = [
            *[Step()] * 5,
            *(HANG_UP, busy, problem(429, "Slow down."), problem(403, "Expired.")),
            *(Step(HANG_UP, chance.random()), Step(busy, chance.random()), Step(HANG_UP)),
            Step(problem(504, "Endpoint request timed out.")),
        ]
        yield chance.choice(steps)


@pytest.mark.usefixtures("waits")
@pytest.mark.parametrize("seed", range(RUNS))
def test_two_importers_that_die_anywhere_store_each_line_once(
    importer: Importer, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """The versions of a file are reordered and shorter; all of them belong to one import."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    monkeypatch.setattr(bulk, "MAX_LINES", chance.randrange(1, 9))
    lines = [
        (f"c{chance.randrange(4)}", f"d{chance.randrange(3)}", chance.randrange(3))
        for _ in range(chance.randrange(1, 16))
    ]
    importer.api.script = chaos(chance)
    threads = []
    for name in "ab":
        sizes = [*(chance.randrange(1, len(lines) + 1) for _ in range(2)), len(lines)]
        versions = [write(importer, chance.sample(lines, size), f"{name}{size}.csv") for size in sizes]
        life = random.Random(f"{seed}{name}")  # noqa: S311 - no secret
        threads.append(Thread(target=import_all, args=(importer.api.url, versions, life), daemon=True))

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert not any(thread.is_alive() for thread in threads)
    assert importer.api.usage() == sorted(lines)


@pytest.mark.parametrize(
    ("stop", "earlier", "exit_code", "told"),
    [
        (signal.SIGKILL, 4, -9, ""),
        (signal.SIGINT, 1, 130, "Interrupted. Nothing was written."),
        (signal.SIGINT, 4, 130, "Interrupted. Not all usage is in the table. Run the same command again"),
    ],
)
def test_a_program_stopped_at_a_request_stores_each_line_once(
    importer: Importer, stop: signal.Signals, earlier: int, exit_code: int, told: str
) -> None:
    lines = [(f"customer-{number % 999}", "seats", number % 7) for number in range(4_500)]
    running: list[subprocess.Popen[str]] = []

    def stop_it() -> None:
        running[0].send_signal(stop)
        running[0].wait(PROGRAM_SECONDS)

    importer.api.script = iter([*[Step()] * earlier, Step(HANG_UP, 0.5, stop_it)])
    with subprocess.Popen(  # noqa: S603 - this very program
        [sys.executable, "-m", "metering_cli", "import", write(importer, lines), "--import-id", "2026-11"],
        cwd=PROJECT,
        env={"METERING_API_URL": importer.api.url, "METERING_API_KEY": KEY},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        running.append(process)
        try:
            _, errors = process.communicate(timeout=PROGRAM_SECONDS)
        finally:
            process.kill()

    assert (process.returncode, told in errors) == (exit_code, True)
    assert importer.run(write(importer, lines[::-1])).exit_code == 0
    assert importer.api.usage() == sorted(lines)
