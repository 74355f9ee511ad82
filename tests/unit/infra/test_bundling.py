"""Content of the functions' bundle, and the asset's hash."""

import hashlib
import json
import os
import re
import shutil
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest import mock

import aws_cdk as cdk
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.loaders import JSONFileLoader, Loader

import metering_handlers
from infra import bundling
from infra.bundling import BOTOCORE_DATA, Target, bundle, function_code
from infra.byte_code import BundlingError, Interpreter, find_interpreter
from infra.config import Config
from metering_handlers.dynamodb import connect
from metering_handlers.inserting import known_dimensions
from tests.unit.infra.stacks import PARAMS

COMPILER = Interpreter(Path("/usr/bin/python3.13"), "3.13.9")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"

ON_PATH = "PATH/python3.99"
IN_UV = "UV_PYTHON_INSTALL_DIR/cpython-3.99.1-linux-x86_64-gnu/bin/python3.99"
IN_PYENV = "PYENV_ROOT/versions/3.99.1/bin/python3.99"


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of src/, and of the rules of bundling, to change."""
    copy = tmp_path / "src"
    shutil.copytree(bundling.SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    rules = tuple(Path(shutil.copy(path, tmp_path)) for path in bundling.RULES)
    monkeypatch.setattr(bundling, "SOURCE", copy)
    monkeypatch.setattr(bundling, "REQUIREMENTS", copy / "requirements.txt")
    monkeypatch.setattr(bundling, "PACKAGE", copy / "metering_handlers")
    monkeypatch.setattr(bundling, "RULES", rules)
    return copy


def asset(
    compiler: Interpreter | None = COMPILER, platform: str = "", python: str = "", **params: object
) -> tuple[str, list[str]]:
    """The asset's key, which is its hash, and the warnings."""
    context = {"bundling_platform": platform, "bundling_python_version": python}
    find = mock.patch.object(bundling, "find_interpreter", return_value=compiler)
    with TemporaryDirectory() as outdir, find:
        stack = cdk.Stack(cdk.App(context=context | {"aws:cdk:bundling-stacks": []}, outdir=outdir), "Stack")
        location = function_code(stack, Config.from_context(PARAMS | params)).bind(stack).s3_location
    assert location
    return location.object_key, [str(entry.data) for entry in stack.node.metadata if "warning" in entry.type]


def test_the_hash_ignores_time_place_and_byte_code(source: Path) -> None:
    before = asset()

    cache = source / "metering_handlers" / "__pycache__"
    cache.mkdir()
    (cache / "settings.cpython-313.pyc").write_bytes(b"x")
    for path in source.rglob("*"):
        path.touch()

    assert asset() == before


def test_the_hash_changes_with_each_file(source: Path) -> None:
    hashes = {asset()[0]}
    for name in (
        *("src/requirements.txt", "src/metering_handlers/contract/limits.py", "bundling.py", "byte_code.py"),
        *("src/metering_handlers/new.py", "src/metering_handlers/contract/new.json"),
    ):
        path = source.parent / name
        # Where there was a file, its length stays the same.
        path.write_text(path.read_text().swapcase() if path.exists() else "")
        hashes.add(asset()[0])

    assert len(hashes) == 7


def test_the_hash_changes_with_target_compiler_and_dimensions() -> None:
    usual, on_x86, with_dimensions = (
        asset(),
        asset(lambda_architecture="x86_64"),
        asset(dimensions=["a", "b"]),
    )
    others = [asset(platform="macosx_11_0_arm64"), asset(python="3.12"), asset(None)]
    others.append(asset(Interpreter(COMPILER.executable, "3.13.10")))

    assert len({key for key, _ in (usual, on_x86, with_dimensions, *others)}) == 7
    assert asset(platform="manylinux2014_aarch64") == usual
    assert asset(python="3.13") == usual
    assert asset(platform="manylinux2014_x86_64") == on_x86
    assert asset(dimensions=["b", "a"]) == with_dimensions


def test_a_machine_that_cannot_compile_gets_a_warning() -> None:
    _, (warning,) = asset(None)

    assert asset()[1] == []
    message = r"No Python 3\.13 was found .*cold starts take about twice as long.*uv python install 3\.13"
    assert re.match(message, warning)


@pytest.fixture
def dependency(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock one small package that pip finds in a directory, so that a real pip needs no network."""
    endpoints = {"partitions": [{"services": {"ec2": {}, "dynamodb": {"a": 1}}}]}
    files = {
        "small/__init__.py": "NAMES = frozenset({'a', 'b', 'c'})\n",
        "botocore/data/dynamodb/2012-08-10/service-2.json": "{}",
        "botocore/data/ec2/2016-11-15/service-2.json": "{}",
        "botocore/data/endpoints.json": json.dumps(endpoints),
        "small-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n",
        "small-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "small-1.0.dist-info/RECORD": "",
    }
    wheel = tmp_path / "small-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (source / "requirements.txt").write_text(f"small==1.0 --hash=sha256:{digest}\n")
    for name, value in {"NO_INDEX": "1", "USER": "1", "FIND_LINKS": str(tmp_path)}.items():
        monkeypatch.setenv(f"PIP_{name}", value)
    return wheel


def bundled(output: Path, umask: int = 0o022, dimensions: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Bundle with byte code; return each entry's mode and the hash of its bytes."""
    interpreter = find_interpreter(RUNNING)
    assert interpreter is not None
    before = os.umask(umask)
    try:
        output.mkdir(parents=True)
        bundle(Target("manylinux2014_aarch64", RUNNING), interpreter, output, dimensions)
    finally:
        os.umask(before)
    return {
        path.relative_to(output).as_posix(): (
            oct(path.stat().st_mode & 0o7777),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [output, *output.rglob("*")]
    }


@pytest.mark.usefixtures("dependency")
def test_the_bundle_is_the_same_in_every_place_and_under_every_umask(tmp_path: Path) -> None:
    private = bundled(tmp_path / "here", 0o077, ["b", "a"])
    usual = bundled(tmp_path / "there" / "and deeper", dimensions=["a", "b"])

    assert private == usual
    assert {mode for mode, digest in usual.values() if digest} == {"0o644"}
    assert {mode for mode, digest in usual.values() if not digest} == {"0o755"}
    # Byte code replaces the dependencies' sources, and stands beside ours.
    cached = f"contract/__pycache__/limits.cpython-{RUNNING.replace('.', '')}.pyc"
    ours = {f"metering_handlers/{name}" for name in ("contract/limits.py", cached)}
    assert {"small/__init__.pyc"} | ours <= set(usual)
    assert "small/__init__.py" not in usual
    # The functions find the product's dimensions.
    sources = Path(metering_handlers.__path__[0]).parent
    shipped = tmp_path / "here" / known_dimensions.FILE.relative_to(sources)
    assert known_dimensions.load(shipped) == frozenset({"a", "b"})
    # Of all services, only DynamoDB is shipped.
    data = {name.split("/")[2] for name in usual if name.startswith("botocore/data/")}
    assert data == {"dynamodb", "endpoints.json"}
    endpoints = json.loads((tmp_path / "here/botocore/data/endpoints.json").read_text())
    assert endpoints == {"partitions": [{"services": {"dynamodb": {"a": 1}}}]}


def test_a_client_reads_only_data_that_is_shipped(monkeypatch: pytest.MonkeyPatch) -> None:
    read: set[str] = set()
    load_file = JSONFileLoader.load_file

    def record(self: JSONFileLoader, file_path: str) -> object:
        found = load_file(self, file_path)
        if found is not None:
            read.add(Path(file_path).relative_to(Loader.BUILTIN_DATA_PATH).parts[0])
        return found

    monkeypatch.setattr(JSONFileLoader, "load_file", record)
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    client = connect(max_connections=1)
    with pytest.raises(EndpointConnectionError):
        client.batch_get_item(RequestItems={"table": {"Keys": [{"id": {"S": "a"}}]}})

    assert read == {name.removesuffix(".json") for name in BOTOCORE_DATA}


def test_a_package_that_is_not_the_locked_one_is_refused(
    tmp_path: Path, source: Path, dependency: Path
) -> None:
    with zipfile.ZipFile(dependency, "a") as archive:
        archive.writestr("small/added.py", "")
    with pytest.raises(BundlingError, match="DO NOT MATCH THE HASHES"):
        bundled(tmp_path / "changed")

    (source / "requirements.txt").write_text("small==1.0\n")
    with pytest.raises(BundlingError, match="hash"):
        bundled(tmp_path / "without a hash")


def test_the_running_python_compiles_if_it_has_the_right_version() -> None:
    interpreter = find_interpreter(RUNNING)

    assert interpreter is not None
    assert interpreter.executable == Path(sys.executable)
    assert interpreter.version.startswith(f"{RUNNING}.")


@pytest.mark.parametrize(
    ("place", "first_place", "first_answer"),
    [
        (IN_UV, ON_PATH, "echo command not found >&2; exit 127"),
        (IN_PYENV, IN_UV, "echo cpython 3.99.0a1"),
        (IN_PYENV, ON_PATH, "echo pypy 3.99.1"),
        (ON_PATH, IN_PYENV, "echo cpython 3.9.9"),
    ],
    ids=["pyenv's shim of a version that is not chosen", "pre-release", "not CPython", "other version"],
)
def test_another_python_compiles_unless_it_only_looks_right(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str, first_place: str, first_answer: str
) -> None:
    for name in ("PATH", "UV_PYTHON_INSTALL_DIR", "PYENV_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def install(where: str, answer: str) -> Path:
        path = tmp_path / where
        path.parent.mkdir(parents=True)
        path.write_text(f"#!/bin/sh\n{answer}\n")
        path.chmod(0o755)
        return path

    install(first_place, first_answer)
    assert find_interpreter("3.99") is None

    executable = install(place, "echo cpython 3.99.1")
    assert find_interpreter("3.99") == Interpreter(executable, "3.99.1")
