"""Programs run as their users run them."""

import os
import subprocess
from pathlib import Path

from tools.local_cloud.steps import PROJECT

SECONDS = 1_200
"""The longest that a program may take; the report of a large table takes minutes."""


def run(*command: str | Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a program in the checkout, with these environment variables besides the others."""
    return subprocess.run(  # noqa: S603 - the project's own, and those of its lock files
        command,
        cwd=PROJECT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )


def output_of(*command: str | Path, **variables: str) -> str:
    """Return what a program prints, whose exit code has to be 0."""
    finished = run(*command, **variables)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    return finished.stdout + finished.stderr
