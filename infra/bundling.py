"""What the functions ship with: the handlers, and what they import, installed by pip without Docker."""

from __future__ import annotations

import compileall
import hashlib
import py_compile
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import jsii
from aws_cdk import BundlingOptions, ILocalBundling
from aws_cdk import aws_lambda as lambda_

from infra.config import Architecture

if TYPE_CHECKING:
    from constructs import Node

SOURCE = Path(__file__).resolve().parent.parent / "src"
REQUIREMENTS = SOURCE / "requirements.txt"
PACKAGE = SOURCE / "metering_handlers"


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
    "pydantic/mypy.py",
    "pydantic/v1",
)


class BundlingError(RuntimeError):
    """The bundle could not be made; the message says why."""


@dataclass(frozen=True)
class Target:
    """What the functions will run on.

    Parameters
    ----------
    platform : str
        The pip platform tag that wheels must have.
    python_version : str
        Major and minor version of the interpreter.
    """

    platform: str
    python_version: str

    @classmethod
    def from_context(cls, node: Node, architecture: Architecture) -> Self:
        """Take Lambda's Python, unless the CDK context names another interpreter that is deployed to.

        Parameters
        ----------
        node : Node
            Where ``bundling_platform`` and ``bundling_python_version`` are looked up.
        architecture : Architecture
            The functions' instruction set.
        """
        platform = {Architecture.ARM_64: "manylinux2014_aarch64", Architecture.X86_64: "manylinux2014_x86_64"}
        return cls(
            platform=node.try_get_context("bundling_platform") or platform[architecture],
            python_version=node.try_get_context("bundling_python_version") or "3.13",
        )


def function_code(target: Target) -> lambda_.Code:
    """Make the code that the functions share.

    The asset's hash depends on the source, its requirements and the target, and on nothing else: not on when,
    or on which machine, pip ran.

    Parameters
    ----------
    target : Target
        What the functions will run on.
    """
    return lambda_.Code.from_asset(
        str(SOURCE),
        asset_hash=_fingerprint(target),
        bundling=BundlingOptions(
            # Named because CDK asks for it; the local bundling below succeeds or raises.
            image=lambda_.Runtime.PYTHON_3_13.bundling_image,
            local=_LocalBundling(target),
        ),
    )


def bundle(target: Target, output: Path) -> None:
    """Put what the functions ship with into a directory.

    Parameters
    ----------
    target : Target
        What the functions will run on.
    output : Path
        An existing, empty directory.

    A deployer whose Python is the target's ships byte code too, which makes cold starts faster.

    Raises
    ------
    BundlingError
        If pip cannot install the requirements for the target.
    """
    command = [
        *(sys.executable, "-m", "pip", "install"),
        *("--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"),
        *("--requirement", str(REQUIREMENTS), "--target", str(output)),
        *("--platform", target.platform, "--python-version", target.python_version),
        *("--implementation", "cp", "--only-binary=:all:"),
    ]
    finished = subprocess.run(  # noqa: S603 - pip, with the project's own requirements
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    if finished.returncode != 0:
        raise BundlingError(
            f"pip could not install src/requirements.txt for Python {target.python_version} on "
            f"{target.platform}:\n{finished.stdout}"
        )
    for pattern in _NOT_SHIPPED:
        for path in output.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
    shutil.copytree(PACKAGE, output / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    # Byte code is of one Python version, so only the target's own Python can make it.
    if target.python_version == f"{sys.version_info.major}.{sys.version_info.minor}":
        _compile(output)


def _compile(output: Path) -> None:
    """Add byte code: Lambda's file system is read-only, so every start would compile everything anew.

    It is not checked against sources, whose times Lambda's archive does not keep. It takes the place of the
    dependencies' sources; our own stay, so that tracebacks show them.
    """
    is_ours = re.compile(rf"{re.escape(str(output / PACKAGE.name))}[/\\]")
    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    compileall.compile_dir(output / PACKAGE.name, quiet=1, invalidation_mode=unchecked)
    compileall.compile_dir(
        output, quiet=1, invalidation_mode=unchecked, legacy=True, rx=is_ours, stripdir=str(output)
    )
    for byte_code in output.rglob("*.pyc"):
        if byte_code.parent.name != "__pycache__":
            byte_code.with_suffix(".py").unlink()


def _fingerprint(target: Target) -> str:
    digest = hashlib.sha256(f"{target.platform}\n{target.python_version}\n".encode())
    for path in [REQUIREMENTS, *sorted(PACKAGE.rglob("*.py"))]:
        content = path.read_bytes()
        digest.update(f"{path.relative_to(SOURCE).as_posix()}\n{len(content)}\n".encode())
        digest.update(content)
    return digest.hexdigest()


@jsii.implements(ILocalBundling)
class _LocalBundling:
    def __init__(self, target: Target) -> None:
        self._target = target

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        bundle(self._target, Path(output_dir))
        return True
