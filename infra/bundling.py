"""What the functions ship with: the handlers, and what they import, installed by pip without Docker."""

from __future__ import annotations

import hashlib
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
    shutil.copytree(PACKAGE, output / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))


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
