"""The map in docs/architecture.md; the rules between packages are import-linter's, in pyproject.toml."""

import re
import subprocess
from pathlib import Path

PROJECT = Path(__file__).parents[2]
CODE = [
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"],  # noqa: S607 - whichever git
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    if (PROJECT / name).exists()
]


def test_the_map_names_every_folder_that_has_code() -> None:
    text = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text.split("## Where to find it", 1)[1].split("\n## ", 1)[0]
    named = set(re.findall(r"^\| `([\w/]+/)`", table, re.MULTILINE))
    folders = {f"{path.parent}/" for path in CODE if path.parts[0] in {"src", "infra", "checks", "tools"}}

    assert folders - {"tools/"} <= named
    assert not {folder for folder in named if not (PROJECT / folder).is_dir()}


def test_every_folder_of_code_is_known_to_the_import_rules_and_to_pytest() -> None:
    tests = {path.parts[1] for path in CODE if path.parts[0] == "tests" and path.match("test_*.py")}

    known = {"app.py", "src", "infra", "checks", "tools", "tests", "examples"}
    assert {path.parts[0] for path in CODE} == known
    assert tests == {"unit", "integration"}


def test_nothing_changes_the_import_path() -> None:
    changing = [
        path
        for path in CODE
        if "sys.path" in (PROJECT / path).read_text(encoding="utf-8") and path.name != Path(__file__).name
    ]

    assert not changing
