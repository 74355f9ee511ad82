"""The functions' bundle: the handlers and what they import, installed by pip without Docker."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import jsii
from aws_cdk import Annotations, BundlingOptions, ILocalBundling
from aws_cdk import aws_lambda as lambda_
from constructs import Construct, Node

from infra import byte_code
from infra.byte_code import CompilationError, Interpreter, compile_bundle, find_interpreter
from infra.config import Architecture

SOURCE = Path(__file__).resolve().parent.parent / "src"
REQUIREMENTS = SOURCE / "requirements.txt"
"""The lock: every package that ships, by version and hash (make lock)."""
PACKAGE = SOURCE / "metering_handlers"

RULES = (Path(__file__), Path(byte_code.__file__))
"""The modules that decide how the bundle is built."""

# Readable for Lambda, with any umask of the deploying user: functions run as another user
# (Lambda Developer Guide, "Permissions for files in the deployment package").
_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755

# Parts of the dependencies that the functions never import.
_NOT_SHIPPED = (
    "*.dist-info",
    "bin",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.css",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js",
    *(
        f"aws_lambda_powertools/utilities/{name}"
        for name in (
            *("auth_alpha", "batch", "circuit_breaker", "data_masking", "feature_flags", "idempotency"),
            *("kafka", "parameters", "parser", "streaming"),
        )
    ),
    "botocore/data/dynamodb/*/examples-1.json",
    "dateutil/zoneinfo/*.tar.gz",
    "pydantic/mypy.py",
    "pydantic/v1",
)
BOTOCORE_DATA = ("dynamodb", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
"""What a DynamoDB client reads of the models of all services."""


class BundlingError(RuntimeError):
    """The bundle could not be built; the message says why."""


DIMENSIONS_FILE = Path("inserting", "dimensions.json")
"""File in the package from which its module ``known_dimensions`` reads the product's dimensions."""


@dataclass(frozen=True)
class Target:
    """Platform on which the functions run."""

    platform: str
    """The pip platform tag that wheels must have."""
    python_version: str
    """Major and minor version of the interpreter."""

    @classmethod
    def from_context(cls, node: Node, architecture: Architecture) -> Self:
        """Return Lambda's Python, or what ``bundling_platform`` and ``bundling_python_version`` name."""
        platform = {Architecture.ARM_64: "manylinux2014_aarch64", Architecture.X86_64: "manylinux2014_x86_64"}
        return cls(
            platform=node.try_get_context("bundling_platform") or platform[architecture],
            python_version=node.try_get_context("bundling_python_version") or "3.13",
        )


def function_code(scope: Construct, target: Target, dimensions: Sequence[str] = ()) -> lambda_.Code:
    """Return the code that the functions share.

    The asset's hash covers what decides the bundle's bytes: the source, the lock, the target, the compiler of
    the byte code, and the rules of bundling. It does not depend on when, or on which machine, pip ran. The
    scope gets a warning if the machine has no interpreter that can compile byte code.
    """
    interpreter = find_interpreter(target.python_version)
    if interpreter is None:
        Annotations.of(scope).add_warning_v2(
            "metering:no-byte-code",
            f"No Python {target.python_version} was found on this machine, so the functions ship without "
            "byte code, and their cold starts take about twice as long. Install it, for example with "
            f"`uv python install {target.python_version}`, and deploy again.",
        )
    return lambda_.Code.from_asset(
        str(SOURCE),
        asset_hash=_fingerprint(target, interpreter, dimensions),
        bundling=BundlingOptions(
            # CDK requires an image, but never uses it: the local bundling below succeeds or raises.
            image=lambda_.Runtime.PYTHON_3_13.bundling_image,
            local=_LocalBundling(target, interpreter, dimensions),
        ),
    )


def bundle(
    target: Target, interpreter: Interpreter | None, output: Path, dimensions: Sequence[str] = ()
) -> None:
    """Build the functions' deployment package in an empty directory.

    The interpreter compiles byte code, which makes cold starts faster; without one, only sources ship. If
    there are no ``dimensions``, all are accepted.

    Raises
    ------
    BundlingError
        If pip cannot install the locked requirements for the target, or a module does not compile.
    """
    command = [
        *(sys.executable, "-m", "pip", "install"),
        *("--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--require-hashes"),
        *("--requirement", str(REQUIREMENTS), "--target", str(output)),
        *("--platform", target.platform, "--python-version", target.python_version),
        *("--implementation", "cp", "--only-binary=:all:"),
    ]
    finished = subprocess.run(  # noqa: S603 - pip, with the project's own requirements
        command,
        # Some set --user for good, which pip refuses beside --target.
        env=os.environ | {"PIP_USER": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if finished.returncode != 0:
        raise BundlingError(
            f"pip could not install src/requirements.txt for Python {target.python_version} on "
            f"{target.platform}:\n{finished.stdout}"
        )
    _prune(output)
    shutil.copytree(PACKAGE, output / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    if dimensions:
        (output / PACKAGE.name / DIMENSIONS_FILE).write_text(json.dumps(sorted(dimensions)), encoding="utf-8")
    if interpreter:
        try:
            compile_bundle(interpreter, output, PACKAGE.name)
        except CompilationError as error:
            raise BundlingError(str(error)) from error
    for path in [output, *output.rglob("*")]:
        path.chmod(_DIRECTORY_MODE if path.is_dir() else _FILE_MODE)


def _prune(output: Path) -> None:
    """Remove what the functions never load."""
    unused = [path for pattern in _NOT_SHIPPED for path in output.glob(pattern)]
    unused += (path for path in output.glob("botocore/data/*") if path.name not in BOTOCORE_DATA)
    for path in unused:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    # Each client reads the endpoints of all services: 8 MB of memory, and 20 ms of a cold start.
    for path in output.glob("botocore/data/endpoints.json"):
        endpoints = json.loads(path.read_text(encoding="utf-8"))
        for partition in endpoints["partitions"]:
            services = partition["services"]
            partition["services"] = {name: services[name] for name in services if name == "dynamodb"}
        path.write_text(json.dumps(endpoints, separators=(",", ":")), encoding="utf-8")


def _fingerprint(target: Target, interpreter: Interpreter | None, dimensions: Sequence[str]) -> str:
    compiler = interpreter.version if interpreter else None
    digest = hashlib.sha256(f"{target.platform}\n{target.python_version}\n{compiler}\n".encode())
    shipped = (path for path in PACKAGE.rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    for path in [*RULES, REQUIREMENTS, *sorted(shipped)]:
        content = path.read_bytes()
        name = path.name if path in RULES else path.relative_to(SOURCE).as_posix()
        digest.update(f"{name}\n{len(content)}\n".encode())
        digest.update(content)
    digest.update(json.dumps(sorted(dimensions)).encode())
    return digest.hexdigest()


@jsii.implements(ILocalBundling)
class _LocalBundling:
    def __init__(self, target: Target, interpreter: Interpreter | None, dimensions: Sequence[str]) -> None:
        self._target = target
        self._dimensions = dimensions
        self._interpreter = interpreter

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        bundle(self._target, self._interpreter, Path(output_dir), self._dimensions)
        return True
