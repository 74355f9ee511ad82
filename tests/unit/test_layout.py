"""The map in docs/architecture.md; the rules between packages are import-linter's, in pyproject.toml."""

import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]


def python_folders(*roots: str) -> set[str]:
    paths = (path for root in roots for path in (PROJECT / root).rglob("*.py"))
    return {f"{path.parent.relative_to(PROJECT)}/" for path in paths if "node_modules" not in path.parts}


def test_the_map_names_every_folder_that_has_code() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("## Where to find it", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"^\| `([\w/]+/)`", table, re.MULTILINE))

    assert python_folders("src", "infra", "checks", "tools") - {"tools/"} <= named
    assert not {folder for folder in named if not (PROJECT / folder).is_dir()}


def test_every_folder_of_code_is_known_to_the_import_rules() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "*.py"],  # noqa: S607 - whichever git there is
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()

    assert {path.partition("/")[0] for path in tracked} == {
        "app.py",
        "src",
        "infra",
        "checks",
        "tools",
        "tests",
        "examples",
    }


def test_tests_are_unit_tests_or_integration_tests() -> None:
    folders = {path.parts[len(PROJECT.parts) + 1] for path in (PROJECT / "tests").rglob("test_*.py")}

    assert folders == {"unit", "integration"}


def test_nothing_changes_the_import_path() -> None:
    changing = [
        path
        for folder in ("src", "infra", "checks", "tools", "tests")
        for path in (PROJECT / folder).rglob("*.py")
        if "node_modules" not in path.parts
        and path != Path(__file__)
        and "sys.path" in path.read_text(encoding="utf-8")
    ]

    assert not changing
