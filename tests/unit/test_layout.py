"""Allowed imports between packages, and the map of the project in docs/architecture.md."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tools.local_cloud.steps import PROJECT

PACKAGES = {
    "metering_handlers": PROJECT / "src" / "metering_handlers",
    **{name: PROJECT / name for name in ("infra", "usage", "tools", "examples")},
}
CONTRACT = "metering_handlers.contract"
MAY_IMPORT = {
    CONTRACT: {CONTRACT},
    "metering_handlers": {"metering_handlers"},
    "infra": {"infra", CONTRACT},
    "usage": {"usage", CONTRACT, "metering_handlers.listing"},
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
    top_level = package.partition(".")[0]
    folder = PACKAGES[top_level]
    paths = (path for path in folder.rglob("*.py") if "node_modules" not in path.parts)
    names = {
        ".".join([top_level, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for path in paths
    }
    return {name: path for name, path in names.items() if is_in(name, package)}


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(f"{package}.")


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
    assert "metering_handlers.contract.limits" in IMPORTS["metering_handlers.contract.identifiers"]
    assert "infra.config" in IMPORTS["tools.local_cloud.deploy"]
    assert "mypy_boto3_dynamodb" not in IMPORTS["metering_handlers.listing.query"]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_only_those_it_may(package: str) -> None:
    ours = {*MAY_IMPORT, "src", "tests"}
    found = {
        f"{name} imports {other}"
        for name in modules(package)
        for other in IMPORTS[name]
        if other.startswith(".")
        or (
            other.partition(".")[0] in ours
            and not any(is_in(other, allowed) for allowed in MAY_IMPORT[package])
        )
    }

    assert not found


def test_there_are_no_circular_imports() -> None:
    graph = {name: IMPORTS[name] & FILES.keys() - {name} for name in FILES}

    # prepare raises CycleError, which names the modules of the circle.
    TopologicalSorter(graph).prepare()


def test_contract_and_what_usage_imports_neither_connect_nor_read_settings() -> None:
    contract = modules(CONTRACT).keys()
    imported_by_usage = {other for name in modules("usage") for other in IMPORTS[name]}
    reached: set[str] = set()
    to_visit = contract | (imported_by_usage & modules("metering_handlers").keys())
    while to_visit:
        reached |= to_visit
        to_visit = {other for name in to_visit for other in IMPORTS[name] & FILES.keys()} - reached

    assert reached > contract
    top_level = {name: {other.partition(".")[0] for other in IMPORTS[name]} for name in reached}
    assert not {name: found for name, packages in top_level.items() if (found := packages & IMPURE)}


def test_tests_are_unit_tests_or_integration_tests() -> None:
    folders = {path.name for path in (PROJECT / "tests").iterdir() if path.is_dir()} - {"__pycache__"}

    assert folders == {"unit", "integration"}
    assert not list((PROJECT / "tests").glob("test_*.py"))


def test_there_are_no_further_folders_of_python_files() -> None:
    folders = {path.parent.name for path in PROJECT.glob("*/*.py")}

    assert folders == PACKAGES.keys() - {"metering_handlers"} | {"tests"}


def the_map() -> tuple[set[str], dict[str, set[str]]]:
    """The folders on the map, and for each folder with a table or a row of its own its modules.

    A table's first column names the modules of the folder in its heading; where it names a folder, the second
    column names that one's modules. The table without a folder in its heading has the folders of the project.
    """
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    folders: set[str] = set()
    names_in: dict[str, set[str]] = defaultdict(set)
    for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        heading, _, *rows = table.splitlines()
        parent = "".join(re.findall(r"`(.+?/)`", heading.split("|")[1]))
        for row in rows:
            first, second = row.split("|")[1:3]
            for name in re.findall(r"`(.+?)`", first):
                if name.endswith("/"):
                    folders.add(f"{parent}{name}")
                    if parent:
                        names_in[f"{parent}{name}"].update(re.findall(r"`(\w+)`", second))
                else:
                    names_in[parent].add(name)
    return folders, names_in


def test_the_map_has_every_folder_of_the_tree_and_no_other() -> None:
    packages = {path.parent for name, path in FILES.items() if not name.startswith(("app", "examples"))}
    folders = {f"{folder.relative_to(PROJECT)}/" for folder in packages}

    assert the_map()[0] == folders - {"tools/"} | {"docs/", "examples/", "tests/unit/", "tests/integration/"}


@pytest.mark.parametrize(
    "folder",
    sorted(
        f"{path.relative_to(PROJECT)}/"
        for package in ("metering_handlers", "infra", "usage")
        for path in {file.parent for file in modules(package).values()}
    ),
)
def test_the_map_has_every_module_that_is_deployed_or_shipped(folder: str) -> None:
    names = {path.stem for path in (PROJECT / folder).glob("*.py")} - {"__init__", "__main__"}

    assert the_map()[1][folder] == names
