"""The local cloud: MiniStack in a virtual environment of its own, on a free port of the loopback address."""

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

from tools.local_cloud.steps import LOCAL, LOGS, StepError, run, running, step

MINISTACK_LOG = LOGS / "ministack.log"

_LOOPBACK = "127.0.0.1"
_REQUIREMENTS = Path(__file__).with_name("requirements.txt")
_VENV = LOCAL / "ministack"
_PYTHON = str(_VENV / "bin" / "python")
_READY_SECONDS = 60
_POLL_SECONDS = 0.1
# MiniStack's well-known key, of no value anywhere else.
_CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@dataclass(frozen=True)
class Cloud:
    """A running local cloud: the endpoint of all its AWS APIs, and the region it simulates."""

    endpoint_url: str
    region: str


@contextmanager
def local_cloud(region: str) -> Iterator[Cloud]:
    """Start MiniStack, after installing it if necessary, and always stop it at the end.

    While it runs, environment variables of this process direct boto3 and all child processes to it, so that
    they cannot reach a real account. Raises StepError if it cannot be installed or is not ready in time.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "CDK_"))}
    _install(plain)
    with socket.create_server((_LOOPBACK, 0)) as free:
        port: int = free.getsockname()[1]
    cloud = Cloud(f"http://{_LOOPBACK}:{port}", region)
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=LOCAL, ignore_cleanup_errors=True) as scratch,
        patch.dict(os.environ, plain | _client_variables(cloud), clear=True),
        running(
            [_PYTHON, "-m", "ministack"], MINISTACK_LOG, _server_variables(cloud, port, scratch), scratch
        ) as server,
    ):
        with step(f"Starting the local cloud on port {port}"):
            _wait_until_ready(server, cloud)
        yield cloud


def _install(environment: dict[str, str]) -> None:
    # A separate environment, without pip, so that a function fails if its bundle lacks a dependency.
    wanted = f"{sys.base_prefix}\n{platform.machine()}\n{sys.version}\n{_REQUIREMENTS.read_text()}"
    stamp = _VENV / "installed.txt"
    if stamp.exists() and stamp.read_text() == wanted and Path(_PYTHON).exists():
        return
    log, failure = LOGS / "ministack-install.log", "MiniStack could not be installed."
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", _PYTHON]
    with step("Installing MiniStack into .local/ministack (once)"):
        run([sys.executable, "-m", "venv", "--clear", "--without-pip", str(_VENV)], log, failure, environment)
        run([*pip, "install", "--require-hashes", "-r", str(_REQUIREMENTS)], log, failure, environment)
        stamp.write_text(wanted)


def _wait_until_ready(server: subprocess.Popen[bytes], cloud: Cloud) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise StepError(f"MiniStack stopped at start (exit code {server.returncode}).", MINISTACK_LOG)
        with suppress(requests.RequestException):
            if requests.get(f"{cloud.endpoint_url}/_ministack/ready", timeout=_READY_SECONDS).ok:
                return
        time.sleep(_POLL_SECONDS)
    raise StepError(f"MiniStack was not ready after {_READY_SECONDS} s.", MINISTACK_LOG)


def _server_variables(cloud: Cloud, port: int, scratch: str) -> dict[str, str]:
    # The functions inherit these variables: only what Lambda sets too, and what MiniStack needs.
    return _CREDENTIALS | {
        "PATH": os.defpath,
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "MINISTACK_REGION": cloud.region,
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
        "STATE_DIR": f"{scratch}/state",
        "S3_DATA_DIR": f"{scratch}/s3",
    }


def _client_variables(cloud: Cloud) -> dict[str, str]:
    no_proxy = ",".join(filter(None, [os.environ.get("NO_PROXY") or os.environ.get("no_proxy"), _LOOPBACK]))
    return _CREDENTIALS | {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_ENDPOINT_URL_S3": cloud.endpoint_url,
        "AWS_REGION": cloud.region,
        "AWS_DEFAULT_REGION": cloud.region,
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        # The CLI caches account ids by access key; use a separate cache, and no telemetry.
        "CDK_HOME": str(LOCAL / "cdk-home"),
        "CDK_DISABLE_CLI_TELEMETRY": "true",
        "CDK_DISABLE_VERSION_CHECK": "true",
        "NO_PROXY": no_proxy,
        "no_proxy": no_proxy,
    }
