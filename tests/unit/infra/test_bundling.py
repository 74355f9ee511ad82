"""Content of the functions' bundle, and the asset's hash."""

import hashlib
import json
import os
import shutil
import sys
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Annotations, Match
from botocore.exceptions import EndpointConnectionError
from botocore.loaders import JSONFileLoader, Loader

import metering_handlers
from infra import bundling
from infra.bundling import BOTOCORE_DATA, BundlingError, Target, bundle, function_code
from infra.byte_code import Interpreter, find_interpreter
from metering_handlers.dynamodb import connect
from metering_handlers.inserting import known_dimensions

TARGET = Target(platform="manylinux2014_aarch64", python_version="3.13")
COMPILER = Interpreter(Path("/usr/bin/python3.13"), "3.13.9")
RUNNING = f"{sys.version_info.major}.{sys.version_info.minor}"


@pytest.fixture(autouse=True)
def compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    found(monkeypatch, COMPILER)


def found(monkeypatch: pytest.MonkeyPatch, interpreter: Interpreter | None) -> None:
    monkeypatch.setattr(bundling, "find_interpreter", lambda _: interpreter)


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


def asset_hash(target: Target = TARGET, dimensions: Sequence[str] = ()) -> str:
    with TemporaryDirectory() as outdir:
        stack = cdk.Stack(cdk.App(context={"aws:cdk:bundling-stacks": []}, outdir=outdir), "Stack")
        function = lambda_.Function(
            stack,
            "Function",
            code=function_code(stack, target, dimensions),
            handler="h",
            runtime=lambda_.Runtime.PYTHON_3_13,
        )
        cfn_function = function.node.default_child
        assert isinstance(cfn_function, lambda_.CfnFunction)
        key: str = stack.resolve(cfn_function.code)["s3Key"]
        return key


def test_the_hash_ignores_time_place_and_byte_code(source: Path) -> None:
    before = asset_hash()

    cache = source / "metering_handlers" / "__pycache__"
    cache.mkdir()
    (cache / "settings.cpython-313.pyc").write_bytes(b"x")
    for path in source.rglob("*"):
        path.touch()

    assert asset_hash() == before


@pytest.mark.parametrize(
    "name",
    [
        *("src/requirements.txt", "src/metering_handlers/contract/limits.py"),
        *("src/metering_handlers/new.py", "src/metering_handlers/contract/new.json"),
        *("bundling.py", "byte_code.py"),
    ],
)
def test_the_hash_changes_with_a_file(source: Path, name: str) -> None:
    before = asset_hash()

    path = source.parent / name
    # Where there was a file, its length stays the same.
    path.write_text(path.read_text().swapcase() if path.exists() else "")

    assert asset_hash() != before


@pytest.mark.parametrize(
    "target", [replace(TARGET, platform="macosx_11_0_arm64"), replace(TARGET, python_version="3.12")]
)
def test_the_hash_changes_with_the_target(target: Target) -> None:
    assert asset_hash(target) != asset_hash()


def test_the_hash_changes_with_the_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {asset_hash()}

    for interpreter in (replace(COMPILER, version="3.13.10"), None):
        found(monkeypatch, interpreter)
        hashes.add(asset_hash())

    assert len(hashes) == 3


def test_the_hash_changes_with_the_dimensions_and_not_with_their_order() -> None:
    without, with_both, in_other_order = (
        asset_hash(dimensions=dimensions) for dimensions in ([], ["a", "b"], ["b", "a"])
    )

    assert without != with_both == in_other_order


def test_a_machine_that_cannot_compile_gets_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stack = cdk.Stack(cdk.App(context={"aws:cdk:bundling-stacks": []}, outdir=str(tmp_path)), "Stack")
    function_code(stack, TARGET)
    Annotations.from_stack(stack).has_no_warning("*", Match.any_value())

    found(monkeypatch, None)
    function_code(stack, TARGET)

    message = r"No Python 3\.13 was found .*cold starts take about twice as long.*uv python install 3\.13"
    Annotations.from_stack(stack).has_warning("*", Match.string_like_regexp(message))


@pytest.fixture
def dependency(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Lock one small package that pip finds in a directory, so that a real pip needs no network."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = wheels / "small-1.0-py3-none-any.whl"
    metadata = "small-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("small/__init__.py", "NAMES = frozenset({'a', 'b', 'c'})\n")
        for name in ("dynamodb/2012-08-10/service-2.json", "ec2/2016-11-15/service-2.json"):
            archive.writestr(f"botocore/data/{name}", "{}")
        archive.writestr(
            "botocore/data/endpoints.json",
            '{"partitions": [{"services": {"ec2": {}, "dynamodb": {"a": 1}}}]}',
        )
        archive.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        archive.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{metadata}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (source / "requirements.txt").write_text(f"small==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_USER", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    return wheel


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def bundled(output: Path, dimensions: Sequence[str] = ()) -> dict[str, tuple[str, str]]:
    """Bundle with byte code; return each entry's mode and the hash of its bytes."""
    output.mkdir(parents=True)
    interpreter = find_interpreter(RUNNING)
    assert interpreter is not None
    bundle(replace(TARGET, python_version=RUNNING), interpreter, output, dimensions)
    return {
        path.relative_to(output).as_posix(): (
            oct(path.stat().st_mode & 0o7777),
            hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else "",
        )
        for path in [output, *output.rglob("*")]
    }


@pytest.mark.usefixtures("dependency")
def test_the_bundle_is_the_same_in_every_place_and_under_every_umask(tmp_path: Path) -> None:
    with umask(0o077):
        private = bundled(tmp_path / "here", ["b", "a"])
    with umask(0o022):
        usual = bundled(tmp_path / "there" / "and deeper", ["a", "b"])

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


@pytest.mark.usefixtures("dependency")
def test_of_all_services_only_dynamodb_is_shipped(tmp_path: Path) -> None:
    data = {name for name in bundled(tmp_path / "bundle") if name.startswith("botocore/data/")}

    assert {name.split("/")[2] for name in data} == {"dynamodb", "endpoints.json"}
    endpoints = json.loads((tmp_path / "bundle/botocore/data/endpoints.json").read_text())
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


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path, dependency: Path) -> None:
    with zipfile.ZipFile(dependency, "a") as archive:
        archive.writestr("small/added.py", "")

    with pytest.raises(BundlingError, match="DO NOT MATCH THE HASHES"):
        bundled(tmp_path / "bundle")


@pytest.mark.usefixtures("dependency")
def test_a_package_without_a_hash_is_refused(source: Path, tmp_path: Path) -> None:
    (source / "requirements.txt").write_text("small==1.0\n")

    with pytest.raises(BundlingError, match="hash"):
        bundled(tmp_path / "bundle")


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Hide all interpreters except the running one, and those that this writes."""
    for name in ("PATH", "UV_PYTHON_INSTALL_DIR", "PYENV_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / name))

    def program(place: str, answer: str) -> Path:
        path = tmp_path / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"#!/bin/sh\n{answer}\n")
        path.chmod(0o755)
        return path

    return program


@pytest.mark.usefixtures("install")
def test_the_running_python_compiles_if_it_has_the_right_version() -> None:
    interpreter = find_interpreter(RUNNING)

    assert interpreter is not None
    assert interpreter.executable == Path(sys.executable)
    assert interpreter.version.startswith(f"{RUNNING}.")


@pytest.mark.parametrize(
    "place",
    [
        "PATH/python3.99",
        "UV_PYTHON_INSTALL_DIR/cpython-3.99.1-linux-x86_64-gnu/bin/python3.99",
        "PYENV_ROOT/versions/3.99.1/bin/python3.99",
    ],
)
def test_another_python_of_the_machine_compiles(install: Callable[[str, str], Path], place: str) -> None:
    assert find_interpreter("3.99") is None

    executable = install(place, "echo cpython 3.99.1")

    assert find_interpreter("3.99") == Interpreter(executable, "3.99.1")


@pytest.mark.parametrize(
    "answer",
    [
        "echo command not found >&2; exit 127",
        "echo cpython 3.99.0a1",
        "echo pypy 3.99.1",
        "echo cpython 3.9.9",
    ],
    ids=["pyenv's shim of a version that is not chosen", "pre-release", "not CPython", "other version"],
)
def test_a_python_that_only_looks_right_is_passed_over(
    install: Callable[[str, str], Path], answer: str
) -> None:
    install("PATH/python3.99", answer)
    assert find_interpreter("3.99") is None

    real = install("PYENV_ROOT/versions/3.99.1/bin/python3.99", "echo cpython 3.99.1")

    assert find_interpreter("3.99") == Interpreter(real, "3.99.1")
