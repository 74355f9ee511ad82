"""The functions' bundle: the handlers and what they import, installed by pip without Docker."""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jsii
from aws_cdk import Annotations, BundlingOptions, ILocalBundling
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra import byte_code
from infra.byte_code import Interpreter, compile_bundle, find_interpreter
from infra.config import Architecture, Config

SOURCE = Path(__file__).resolve().parent.parent / "src"
REQUIREMENTS = SOURCE / "requirements.txt"
"""The lock: every package that ships, by version and hash (make lock)."""
PACKAGE = SOURCE / "metering_handlers"
DIMENSIONS_FILE = Path("inserting", "dimensions.json")
"""File in the package from which its module ``known_dimensions`` reads the product's dimensions."""
RULES = (Path(__file__), Path(byte_code.__file__))
"""The modules that decide how the bundle is built."""

# Readable for Lambda, with any umask of the deploying user: functions run as another user
# (Lambda Developer Guide, "Permissions for files in the deployment package").
_FILE_MODE = 0o644
_DIRECTORY_MODE = 0o755

_UNUSED_UTILITIES = (
    *("auth_alpha", "batch", "circuit_breaker", "data_masking", "feature_flags", "idempotency", "kafka"),
    *("parameters", "parser", "streaming"),
)
# Parts of the dependencies that the functions never import.
_NOT_SHIPPED = (
    "*.dist-info",
    "bin",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.css",
    "aws_lambda_powertools/event_handler/openapi/swagger_ui/*.js",
    *(f"aws_lambda_powertools/utilities/{name}" for name in _UNUSED_UTILITIES),
    "botocore/data/dynamodb/*/examples-1.json",
    "dateutil/zoneinfo/*.tar.gz",
    "pydantic/mypy.py",
    "pydantic/v1",
)
BOTOCORE_DATA = ("dynamodb", "endpoints.json", "partitions.json", "sdk-default-configuration.json")
"""What a DynamoDB client reads of the models of all services."""

_PLATFORMS = {Architecture.ARM_64: "manylinux2014_aarch64", Architecture.X86_64: "manylinux2014_x86_64"}


@dataclass(frozen=True)
class Target:
    """Platform on which the functions run."""

    platform: str
    """The pip platform tag that wheels must have."""
    python_version: str
    """Major and minor version of the interpreter."""


def function_code(scope: Construct, config: Config) -> lambda_.Code:
    """Return the code that the functions share.

    It is for Lambda's Python, or what the context keys ``bundling_platform`` and ``bundling_python_version``
    name.

    The asset's hash covers what decides the bundle's bytes: the source, the lock, the target, the compiler of
    the byte code, and the rules of bundling. It does not depend on when, or on which machine, pip ran. The
    scope gets a warning if the machine has no interpreter that can compile byte code.
    """
    target = Target(
        scope.node.try_get_context("bundling_platform") or _PLATFORMS[config.lambda_architecture],
        scope.node.try_get_context("bundling_python_version") or "3.13",
    )
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
        asset_hash=_fingerprint(target, interpreter, config.dimensions),
        bundling=BundlingOptions(
            # CDK requires an image, but never uses it: the local bundling below succeeds or raises.
            image=lambda_.Runtime.PYTHON_3_13.bundling_image,
            local=_LocalBundling(partial(bundle, target, interpreter, dimensions=config.dimensions)),
        ),
    )


def bundle(
    target: Target, interpreter: Interpreter | None, output: Path, dimensions: Sequence[str] = ()
) -> None:
    """Build the functions' deployment package in an empty directory.

    The interpreter compiles byte code, which makes cold starts faster; without one, only sources ship. If
    there are no ``dimensions``, all are accepted. Raises BundlingError if pip cannot install the locked
    requirements for the target, or a module does not compile.
    """
    byte_code.run(
        [
            *(sys.executable, "-m", "pip", "install"),
            *("--quiet", "--disable-pip-version-check", "--no-input", "--no-compile", "--require-hashes"),
            *("--requirement", str(REQUIREMENTS), "--target", str(output)),
            *("--platform", target.platform, "--python-version", target.python_version),
            *("--implementation", "cp", "--only-binary=:all:"),
        ],
        failure=f"pip could not install src/requirements.txt for Python {target.python_version} on "
        f"{target.platform}",
        # Some set --user for good, which pip refuses beside --target.
        PIP_USER="0",
    )
    _prune(output)
    shutil.copytree(PACKAGE, output / PACKAGE.name, ignore=shutil.ignore_patterns("__pycache__"))
    if dimensions:
        (output / PACKAGE.name / DIMENSIONS_FILE).write_text(json.dumps(sorted(dimensions)), encoding="utf-8")
    if interpreter:
        compile_bundle(interpreter, output, PACKAGE.name)
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
    def __init__(self, build: Callable[[Path], None]) -> None:
        self._build = build

    def try_bundle(self, output_dir: str, *_: object, **__: object) -> bool:
        self._build(Path(output_dir))
        return True
