"""When the functions' code counts as changed."""

import shutil
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import aws_cdk as cdk
import pytest
from aws_cdk import aws_lambda as lambda_

from infra import bundling
from infra.bundling import Target, function_code

TARGET = Target(platform="manylinux2014_aarch64", python_version="3.13")


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make a copy of src/ to change."""
    copy = tmp_path / "src"
    shutil.copytree(bundling.SOURCE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(bundling, "SOURCE", copy)
    monkeypatch.setattr(bundling, "REQUIREMENTS", copy / "requirements.txt")
    monkeypatch.setattr(bundling, "PACKAGE", copy / "metering_handlers")
    return copy


def asset_hash(target: Target = TARGET) -> str:
    with TemporaryDirectory() as outdir:
        return asset_hash_in(outdir, target)


def asset_hash_in(outdir: str, target: Target) -> str:
    stack = cdk.Stack(cdk.App(context={"aws:cdk:bundling-stacks": []}, outdir=outdir), "Stack")
    function = lambda_.Function(
        stack,
        "Function",
        code=function_code(target),
        handler="h",
        runtime=lambda_.Runtime.PYTHON_3_13,
    )
    cfn_function = function.node.default_child
    assert isinstance(cfn_function, lambda_.CfnFunction)
    code = stack.resolve(cfn_function.code)
    key: str = code["s3Key"]
    return key


def test_the_code_is_unchanged_by_time_place_and_byte_code(source: Path) -> None:
    before = asset_hash()

    cache = source / "metering_handlers" / "__pycache__"
    cache.mkdir()
    (cache / "models.cpython-313.pyc").write_bytes(b"x")
    for path in source.rglob("*"):
        path.touch()

    assert asset_hash() == before


@pytest.mark.parametrize("name", ["requirements.txt", "metering_handlers/models.py"])
def test_the_code_changes_with_a_file(source: Path, name: str) -> None:
    before = asset_hash()

    with (source / name).open("a") as file:
        file.write("# changed\n")

    assert asset_hash() != before


def test_the_code_changes_with_a_new_module(source: Path) -> None:
    before = asset_hash()

    (source / "metering_handlers" / "new.py").touch()

    assert asset_hash() != before


@pytest.mark.parametrize(
    "target", [replace(TARGET, platform="macosx_11_0_arm64"), replace(TARGET, python_version="3.12")]
)
def test_the_code_changes_with_its_target(target: Target) -> None:
    assert asset_hash(target) != asset_hash()
