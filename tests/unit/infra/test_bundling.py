"""Content of the functions' bundle, and the asset's hash."""

import hashlib
import os
import re
import shutil
import sys
import tomllib
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_
from aws_cdk.assertions import Annotations, Match

import metering_handlers
from infra import bundling
from infra.bundling import BundlingError, Target, bundle, function_code
from infra.byte_code import Interpreter, find_interpreter
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
    """Make a copy of src/ to change."""
    copy = tmp_path / "src"
    shutil.copytree(bundling.SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(bundling, "SOURCE", copy)
    monkeypatch.setattr(bundling, "REQUIREMENTS", copy / "requirements.txt")
    monkeypatch.setattr(bundling, "PACKAGE", copy / "metering_handlers")
    return copy


def asset_hash(target: Target = TARGET, dimensions: Sequence[str] = ()) -> str:
    with TemporaryDirectory() as outdir:
        return asset_hash_in(outdir, target, dimensions)


def asset_hash_in(outdir: str, target: Target, dimensions: Sequence[str]) -> str:
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
    code = stack.resolve(cfn_function.code)
    key: str = code["s3Key"]
    return key


def change(path: Path) -> None:
    """Change a file's content and not its length."""
    path.write_text(path.read_text().swapcase())


def test_the_code_is_unchanged_by_time_place_and_byte_code(source: Path) -> None:
    before = asset_hash()

    cache = source / "metering_handlers" / "__pycache__"
    cache.mkdir()
    (cache / "settings.cpython-313.pyc").write_bytes(b"x")
    for path in source.rglob("*"):
        path.touch()

    assert asset_hash() == before


@pytest.mark.parametrize("name", ["requirements.txt", "metering_handlers/contract/limits.py"])
def test_the_code_changes_with_a_file(source: Path, name: str) -> None:
    before = asset_hash()

    change(source / name)

    assert asset_hash() != before


@pytest.mark.parametrize("name", ["new.py", "contract/new.json"])
def test_the_code_changes_with_a_new_file(source: Path, name: str) -> None:
    before = asset_hash()

    (source / "metering_handlers" / name).touch()

    assert asset_hash() != before


@pytest.mark.parametrize(
    "target", [replace(TARGET, platform="macosx_11_0_arm64"), replace(TARGET, python_version="3.12")]
)
def test_the_code_changes_with_its_target(target: Target) -> None:
    assert asset_hash(target) != asset_hash()


def test_the_code_changes_with_the_compiler_of_its_byte_code(monkeypatch: pytest.MonkeyPatch) -> None:
    hashes = {asset_hash()}

    found(monkeypatch, replace(COMPILER, version="3.13.10"))
    hashes.add(asset_hash())
    found(monkeypatch, None)
    hashes.add(asset_hash())

    assert len(hashes) == 3


@pytest.mark.parametrize("name", ["bundling.py", "byte_code.py"])
def test_the_code_changes_with_the_rules_of_bundling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    before = asset_hash()

    rules = [shutil.copy(path, tmp_path) for path in bundling.RULES]
    monkeypatch.setattr(bundling, "RULES", tuple(Path(path) for path in rules))
    assert asset_hash() == before
    change(tmp_path / name)

    assert asset_hash() != before


def test_a_deployer_whose_machine_cannot_compile_is_told_what_it_costs(
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
        archive.writestr(f"{metadata}/METADATA", "Metadata-Version: 2.1\nName: small\nVersion: 1.0\n")
        archive.writestr(
            f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{metadata}/RECORD", "")
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    (source / "requirements.txt").write_text(f"small==1.0 --hash=sha256:{digest}\n")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
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
        private = bundled(tmp_path / "here")
    with umask(0o022):
        usual = bundled(tmp_path / "there" / "and deeper")

    assert private == usual
    assert {mode for mode, digest in usual.values() if digest} == {"0o644"}
    assert {mode for mode, digest in usual.values() if not digest} == {"0o755"}


@pytest.mark.usefixtures("dependency")
def test_byte_code_takes_the_place_of_the_dependencies_sources_and_stands_beside_ours(tmp_path: Path) -> None:
    names = set(bundled(tmp_path / "bundle"))

    assert {"small/__init__.pyc", "metering_handlers/contract/limits.py"} <= names
    assert f"metering_handlers/contract/__pycache__/limits.cpython-{RUNNING.replace('.', '')}.pyc" in names
    assert "small/__init__.py" not in names


def test_a_package_that_is_not_the_locked_one_is_refused(tmp_path: Path, dependency: Path) -> None:
    with zipfile.ZipFile(dependency, "a") as archive:
        archive.writestr("small/added.py", "")

    with pytest.raises(BundlingError, match="DO NOT MATCH THE HASHES"):
        bundled(tmp_path / "bundle")


def test_a_package_that_the_lock_does_not_have_is_refused(
    source: Path, tmp_path: Path, dependency: Path
) -> None:
    assert dependency.exists()
    (source / "requirements.txt").write_text("small==1.0\n")

    with pytest.raises(BundlingError, match="hash"):
        bundled(tmp_path / "bundle")


def test_the_lock_has_all_that_ships_by_version_and_hash() -> None:
    project = tomllib.loads((bundling.SOURCE.parent / "pyproject.toml").read_text())
    asked_for = set(project["dependency-groups"]["functions"])
    locked = re.sub(r" *#.*", "", bundling.REQUIREMENTS.read_text()).replace("\\\n", "").split("\n")
    packages = [line.split() for line in locked if line.strip()]

    assert asked_for <= {package[0] for package in packages}, "run make lock"
    for name, *hashes in packages:
        assert re.fullmatch(r"[a-z0-9-]+==[0-9.]+", name)
        assert hashes
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", item) for item in hashes)


@pytest.fixture
def no_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide all interpreters except the running one."""
    for name in ("PATH", "UV_PYTHON_INSTALL_DIR", "PYENV_ROOT"):
        monkeypatch.setenv(name, str(tmp_path / "empty"))


def program(path: Path, answer: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{answer}\n")
    path.chmod(0o755)
    return path


@pytest.mark.usefixtures("no_interpreter")
def test_the_running_python_compiles_if_it_is_of_the_right_version() -> None:
    interpreter = find_interpreter(RUNNING)

    assert interpreter is not None
    assert interpreter.executable == Path(sys.executable)
    assert interpreter.version.startswith(f"{RUNNING}.")


@pytest.mark.usefixtures("no_interpreter")
@pytest.mark.parametrize(
    ("variable", "place"),
    [
        ("PATH", "python3.99"),
        ("UV_PYTHON_INSTALL_DIR", "cpython-3.99.1-linux-x86_64-gnu/bin/python3.99"),
        ("PYENV_ROOT", "versions/3.99.1/bin/python3.99"),
    ],
)
def test_another_python_of_the_machine_compiles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str, place: str
) -> None:
    executable = program(tmp_path / "installed" / place, "echo cpython 3.99.1")
    assert find_interpreter("3.99") is None

    monkeypatch.setenv(variable, str(tmp_path / "installed"))

    assert find_interpreter("3.99") == Interpreter(executable, "3.99.1")


@pytest.mark.usefixtures("no_interpreter")
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
def test_what_only_looks_like_the_right_python_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    program(tmp_path / "shims" / "python3.99", answer)
    real = program(tmp_path / "pyenv" / "versions" / "3.99.1" / "bin" / "python3.99", "echo cpython 3.99.1")
    monkeypatch.setenv("PATH", str(tmp_path / "shims"))
    assert find_interpreter("3.99") is None

    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))

    assert find_interpreter("3.99") == Interpreter(real, "3.99.1")


@pytest.mark.usefixtures("dependency")
def test_dimensions_are_shipped_where_the_functions_look_for_them(tmp_path: Path) -> None:
    sources = Path(metering_handlers.__path__[0]).parent
    shipped = tmp_path / "bundle" / known_dimensions.FILE.relative_to(sources)

    bundled(tmp_path / "bundle", ["b", "a"])

    assert known_dimensions.load(shipped) == frozenset({"a", "b"})


def test_the_code_changes_with_the_products_dimensions_and_not_with_their_order() -> None:
    without, with_both, in_other_order = (
        asset_hash(dimensions=dimensions) for dimensions in ([], ["a", "b"], ["b", "a"])
    )

    assert without != with_both == in_other_order
