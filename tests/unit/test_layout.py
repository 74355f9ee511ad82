"""Allowed imports between packages, and the map of the project in docs/architecture.md."""

import ast
import re
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tools.local_cloud.steps import PROJECT

PACKAGES = {
    "metering_handlers": PROJECT / "src" / "metering_handlers",
    **{name: PROJECT / name for name in ("infra", "usage", "tools", "examples")},
}
MAY_IMPORT = {
    "metering_handlers": {"metering_handlers"},
    "infra": {"infra"},
    "usage": {"usage", "metering_handlers"},
    "tools": {"tools", "infra", "metering_handlers"},
    "examples": set(),
    "app": {"infra"},
}
IMPURE = {"aws_lambda_powertools", "boto3", "botocore", "os"}
"""Top-level packages that a pure module does not import."""


def modules(package: str) -> dict[str, Path]:
    """The files of a package by the names under which they are imported."""
    if package == "app":
        return {"app": PROJECT / "app.py"}
    folder = PACKAGES[package]
    paths = (path for path in folder.rglob("*.py") if "node_modules" not in path.parts)
    return {
        ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in paths
    }


def imported(node: ast.AST) -> Iterator[str]:
    """Names that code imports when it runs: for ``from a import b``, both ``a`` and ``a.b``."""
    match node:
        case ast.If(test=ast.Name("TYPE_CHECKING")):
            return
        case ast.Import():
            yield from (alias.name for alias in node.names)
        case ast.ImportFrom():
            module = f"{'.' * node.level}{node.module or ''}"
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))
    for child in ast.iter_child_nodes(node):
        yield from imported(child)


FILES = {name: path for package in MAY_IMPORT for name, path in modules(package).items()}
IMPORTS = {name: set(imported(ast.parse(path.read_text(encoding="utf-8")))) for name, path in FILES.items()}


def test_the_walk_sees_the_imports() -> None:
    assert "metering_handlers.models" in IMPORTS["metering_handlers.insert_metering_record"]
    assert "infra.config" in IMPORTS["tools.local_cloud.deploy"]
    assert "mypy_boto3_dynamodb" not in IMPORTS["metering_handlers.metering_table"]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_it_may(package: str) -> None:
    known = {*MAY_IMPORT, "src", "tests"}
    found = {
        f"{name} imports {other}"
        for name in modules(package)
        for other in IMPORTS[name]
        if other.startswith(".") or other.partition(".")[0] in known - MAY_IMPORT[package]
    }

    assert not found


def test_there_are_no_circular_imports() -> None:
    graph = {name: IMPORTS[name] & FILES.keys() - {name} for name in FILES}

    # prepare raises CycleError, which names the modules of the circle.
    TopologicalSorter(graph).prepare()


def test_usage_imports_only_modules_of_the_functions_that_neither_connect_nor_read_the_environment() -> None:
    reached: set[str] = set()
    to_visit = {other for name in modules("usage") for other in IMPORTS[name]} & modules(
        "metering_handlers"
    ).keys()
    while to_visit:
        reached |= to_visit
        to_visit = {other for name in to_visit for other in IMPORTS[name] & FILES.keys()} - reached

    assert reached
    top_level = {name: {other.partition(".")[0] for other in IMPORTS[name]} for name in reached}
    assert not {name: found for name, packages in top_level.items() if (found := packages & IMPURE)}


def test_tests_are_unit_tests_or_integration_tests() -> None:
    folders = {path.name for path in (PROJECT / "tests").iterdir() if path.is_dir()} - {"__pycache__"}

    assert folders == {"unit", "integration"}
    assert not list((PROJECT / "tests").glob("test_*.py"))


def test_there_are_no_further_folders_of_python_files() -> None:
    folders = {path.parent.name for path in PROJECT.glob("*/*.py")}

    assert folders == PACKAGES.keys() - {"metering_handlers"} | {"tests"}


def tables_of_the_map() -> dict[str, set[str]]:
    """Names in each table's first column, by the folder in its heading; ``.`` for the table of folders."""
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    tables: dict[str, set[str]] = {}
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        heading, _, *rows = table.splitlines()
        names = {name for row in rows for name in re.findall(r"`(.+?)`", row.split("|")[1])}
        (folder,) = re.findall(r"`(.+?)/`", heading.split("|")[1]) or ["."]
        tables[folder] = names
    return tables


def test_the_map_has_every_folder_of_the_tree_and_no_other() -> None:
    packages = {path.parent for name, path in FILES.items() if not name.startswith(("app", "examples"))}
    folders = {f"{folder.relative_to(PROJECT)}/" for folder in packages}

    assert tables_of_the_map()["."] == folders - {"tools/"} | {
        "docs/",
        "examples/",
        "tests/unit/",
        "tests/integration/",
    }


@pytest.mark.parametrize(
    "folder", ["src/metering_handlers", "infra", "infra/api", "infra/operations", "usage"]
)
def test_the_map_has_every_module_of_what_is_deployed_or_shipped_and_no_other(folder: str) -> None:
    names = {path.stem for path in (PROJECT / folder).glob("*.py")} - {"__init__", "__main__"}

    assert tables_of_the_map()[folder] == names
