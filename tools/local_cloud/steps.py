"""Steps of a run, with their titles, durations and logs."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOCAL = PROJECT / ".local"
LOGS = LOCAL / "logs"

_HEARTBEAT_SECONDS = 15
_STOP_SECONDS = 10
_TAIL_LINES = 30


class StepError(Exception):
    """A step failed; the message says what to do, if that is known, and the log's end is shown below it."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log

    def report(self) -> str:
        """Return the message, followed by the end of the log."""
        if self.log is None or not self.log.exists():
            return str(self)
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        tail = "\n".join(f"  | {line}" for line in lines) or "  | (nothing was logged)"
        return f"{self}\n{tail}\n  The whole log: {shown(self.log)}"


def shown(path: Path) -> str:
    """Return a path for messages: relative to the current directory if it is below it."""
    with suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


def say(text: str = "") -> None:
    """Print a line and flush it."""
    print(text, flush=True)


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a step's title and, at the end, its duration."""
    say(f"==> {title} ...")
    started = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - started:.1f} s")


def start(command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path) -> subprocess.Popen[bytes]:
    """Start a process in a group of its own, with nothing but this environment; the log is overwritten."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        return subprocess.Popen(  # noqa: S603 - the commands are this package's own
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def stop_group(process: subprocess.Popen[bytes]) -> None:
    """Stop the process group of a process that ``start`` started."""
    # A group whose members are all gone or unreaped is "not found" on Linux and "not permitted" on macOS.
    gone = (ProcessLookupError, PermissionError)
    try:
        with suppress(*gone):
            os.killpg(process.pid, signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_SECONDS)
    finally:
        with suppress(*gone):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def run(command: Sequence[str], log: Path, failure: str, env: Mapping[str, str]) -> None:
    """Run a command in the project's folder.

    Raises
    ------
    StepError
        With that message, if the command cannot be started or does not exit with 0.
    """
    try:
        process = start(command, log, env, PROJECT)
    except OSError as error:
        raise StepError(f"{failure} ({error})") from error
    try:
        exit_code = _wait(process)
    except BaseException:
        stop_group(process)
        raise
    if exit_code != 0:
        raise StepError(f"{failure} (exit code {exit_code})", log)


def _wait(process: subprocess.Popen[bytes]) -> int:
    started = time.monotonic()
    while True:
        try:
            return process.wait(_HEARTBEAT_SECONDS)
        except subprocess.TimeoutExpired:
            say(f"    still running, {time.monotonic() - started:.0f} s")
