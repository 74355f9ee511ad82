"""Steps of a run, with their titles, durations and logs."""

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
LOCAL = PROJECT / ".local"
LOGS = LOCAL / "logs"

_HEARTBEAT_SECONDS = 15
_STOP_SECONDS = 10
_TAIL_LINES = 30


say = partial(print, flush=True)
"""Print a line at once."""


class StepError(Exception):
    """A step failed; the message says what to do, if that is known, and the log's end is shown below it."""

    def __init__(self, message: str, log: Path | None = None) -> None:
        super().__init__(message)
        self.log = log

    def report(self) -> str:
        """Return the message, followed by the end of the log."""
        if self.log is None or not self.log.exists():
            return str(self)
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:] or ["(nothing was logged)"]
        return "\n".join(
            [str(self), *(f"  | {line}" for line in lines), f"  The whole log: {os.path.relpath(self.log)}"]
        )


@contextmanager
def step(title: str) -> Iterator[None]:
    """Print a step's title and, at the end, its duration."""
    say(f"==> {title} ...")
    started = time.monotonic()
    yield
    say(f"    done in {time.monotonic() - started:.1f} s")


@contextmanager
def running(
    command: Sequence[str], log: Path, env: Mapping[str, str], cwd: Path | str = PROJECT
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process with nothing but this environment, in a group that is stopped at the end."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the commands are this package's own
            command,
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    # A group whose members are all gone or unreaped is "not found" on Linux and "not permitted" on macOS.
    gone = (ProcessLookupError, PermissionError)
    try:
        yield process
    finally:
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

    Raises StepError, with the message ``failure``, if it cannot be started or does not exit with 0.
    """
    started = time.monotonic()
    try:
        with running(command, log, env) as process:
            while process.poll() is None:
                try:
                    process.wait(_HEARTBEAT_SECONDS)
                except subprocess.TimeoutExpired:
                    say(f"    still running, {time.monotonic() - started:.0f} s")
    except OSError as error:
        raise StepError(f"{failure} ({error})") from error
    if process.returncode != 0:
        raise StepError(f"{failure} (exit code {process.returncode})", log)
