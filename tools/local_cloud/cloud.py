"""The local cloud: MiniStack in a virtual environment of its own, on a free port of the loopback address."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import requests

from tools.local_cloud.steps import LOCAL, LOGS, StepError, run, start, step, stop_group

ACCESS_KEY = "test"
SECRET_KEY = "test"  # noqa: S105 - MiniStack's well-known key, of no value anywhere else
MINISTACK_LOG = LOGS / "ministack.log"

_LOOPBACK = "127.0.0.1"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_VENV = LOCAL / "ministack"
_PYTHON = _VENV / "bin" / "python"
_READY_SECONDS = 60
_POLL_SECONDS = 0.1


@dataclass(frozen=True)
class Cloud:
    """A running local cloud: the endpoint of all its AWS APIs, and the region it simulates."""

    endpoint_url: str
    region: str


@contextmanager
def local_cloud(region: str) -> Iterator[Cloud]:
    """Start MiniStack, after installing it if necessary, and always stop it at the end.

    While it runs, environment variables of this process direct boto3 and all child processes to it, so that
    they cannot reach a real account.

    Raises
    ------
    StepError
        If MiniStack cannot be installed or does not become ready in time.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    _install(plain)
    port = _free_port()
    endpoint_url = f"http://{_LOOPBACK}:{port}"
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=LOCAL, ignore_cleanup_errors=True) as scratch,
        _ministack(port, region, Path(scratch)),
        patch.dict(os.environ, plain | _client_variables(endpoint_url, region), clear=True),
    ):
        yield Cloud(endpoint_url, region)


def _install(environment: dict[str, str]) -> None:
    # A separate environment, without pip, so that a function fails if its bundle lacks a dependency.
    wanted = f"{sys.base_prefix}\n{platform.machine()}\n{sys.version}\n{_REQUIREMENTS.read_text()}"
    stamp = _VENV / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted and _PYTHON.exists():
        return
    with step("Installing MiniStack into .local/ministack (once)"):
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(_PYTHON)]
        for command in (
            [sys.executable, "-m", "venv", "--clear", "--without-pip", str(_VENV)],
            [*pip, "install", "--require-hashes", "-r", str(_REQUIREMENTS)],
        ):
            run(
                command,
                log=LOGS / "ministack-install.log",
                failure="MiniStack could not be installed.",
                env=environment,
            )
        stamp.write_text(wanted)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _ministack(port: int, region: str, scratch: Path) -> Iterator[None]:
    command = [str(_PYTHON), "-m", "ministack"]
    process = start(command, MINISTACK_LOG, _server_variables(port, region, scratch), scratch)
    try:
        with step(f"Starting the local cloud on port {port}"):
            _wait_until_ready(process, f"http://{_LOOPBACK}:{port}/_ministack/ready")
        yield
    finally:
        stop_group(process)


def _server_variables(port: int, region: str, scratch: Path) -> dict[str, str]:
    # The functions inherit these variables: only what Lambda sets too, and what MiniStack needs.
    return {
        "PATH": os.defpath,
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "MINISTACK_REGION": region,
        "BIND_HOST": _LOOPBACK,
        "GATEWAY_PORT": str(port),
        # Enforce the permissions of the functions' roles.
        "AUTH": "true",
        # No other listeners, and no Docker.
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{scratch}/no-docker.sock",
        "PERSIST_STATE": "0",
        "S3_PERSIST": "0",
        "STATE_DIR": str(scratch / "state"),
        "S3_DATA_DIR": str(scratch / "s3"),
    }


def _client_variables(endpoint_url: str, region: str) -> dict[str, str]:
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _LOOPBACK]))
    return {
        "AWS_ENDPOINT_URL": endpoint_url,
        "AWS_ENDPOINT_URL_S3": endpoint_url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        "AWS_EC2_METADATA_DISABLED": "true",
        # The CLI caches account ids by access key; use a separate cache, and no telemetry.
        "CDK_HOME": str(LOCAL / "cdk-home"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }


def _wait_until_ready(process: subprocess.Popen[bytes], url: str) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise StepError(f"MiniStack stopped at start (exit code {process.returncode}).", MINISTACK_LOG)
        with suppress(requests.ConnectionError), requests.Session() as session:
            # Not through a proxy.
            session.trust_env = False
            if session.get(url, timeout=_READY_SECONDS).ok:
                return
        time.sleep(_POLL_SECONDS)
    raise StepError(f"MiniStack was not ready after {_READY_SECONDS} s.", MINISTACK_LOG)
