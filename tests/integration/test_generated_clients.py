"""Clients generated from docs/openapi.json: they compile, and report and read usage at the deployed API."""

import json
import shutil
import sys
import uuid
from pathlib import Path

import pytest

from tests.integration.programs import output_of, run
from tools.local_cloud.deploy import Api
from tools.local_cloud.steps import LOCAL, PROJECT

CONTRACT = PROJECT / "docs" / "openapi.json"
PROGRAMS = Path(__file__).with_name("generated")
NODE_MODULES = PROJECT / "tools" / "node_modules"
RESULT = {
    "duplicates": ["t-1"],
    "values": [1, 2, 3],
    "pending": [["m", 6]],
    "record_count": 3,
    "errors": [422, "urn:marketplace-metering:problem:invalid-request", "duplicate_dimension"],
}
"""What each program of generated/ prints, having made the same calls."""

GENERATOR_WARNINGS = (
    "OpenAPI 3.1 support is still in beta.",
    # Schemas of any type: what is not an identifier, and what AWS answered.
    "Failed to get the schema name: null",
    # Nothing uses this model: the parameter is called var_from.
    "From (reserved word) cannot be used as model name.",
)
GENERATOR_TYPE_ERRORS = (
    # Server variables without an enum, which may have any value.
    'Missing key "enum_values" for TypedDict "HostSettingVariable"',
)


def tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def unexpected(output: str, marker: str, expected: tuple[str, ...]) -> list[str]:
    """Return the lines with that marker that are not expected."""
    return [
        line for line in output.splitlines() if marker in line and not any(text in line for text in expected)
    ]


def result_of(api: Api, *command: str | Path, **variables: str) -> object:
    customer = f"arn:aws:license-manager::123456789012:license/lic-{uuid.uuid4().hex}"
    variables |= api.caller_variables | {"METERING_API_URL": api.api_url, "CUSTOMER": customer}
    return json.loads(output_of(*command, **variables))


def check_python(api: Api, program: str, packages: Path, known_errors: tuple[str, ...] = ()) -> None:
    """Run a Python program with the client it imports, and check both with mypy, as their user would."""
    module = f"tests.integration.generated.{program}"
    assert result_of(api, sys.executable, "-m", module, PYTHONPATH=str(packages)) == RESULT

    options = ["--config-file=", "--check-untyped-defs", "--namespace-packages", "--explicit-package-bases"]
    checked = run(
        tool("mypy"),
        *(*options, "--disable-error-code=import-untyped", f"--cache-dir={LOCAL / 'mypy-clients'}"),
        PROGRAMS / f"{program}.py",
        MYPYPATH=str(packages),
    ).stdout
    assert "Success" in checked or "checked 1 source file" in checked, checked
    assert unexpected(checked, " error: ", known_errors) == []


def test_openapi_python_client(api: Api, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"post_hooks": []}')
    output_of(
        tool("openapi-python-client"),
        *("generate", "--fail-on-warning", "--meta=none"),
        f"--path={CONTRACT}",
        f"--config={tmp_path / 'config.json'}",
        f"--output-path={tmp_path / 'metering_client'}",
    )

    check_python(api, "with_openapi_python_client", tmp_path)


@pytest.mark.skipif(shutil.which("java") is None, reason="openapi-generator needs java on the path")
def test_openapi_generator(api: Api, tmp_path: Path) -> None:
    generated = output_of(
        tool("openapi-generator-cli"),
        *("generate", "--generator-name=python", f"--input-spec={CONTRACT}", f"--output={tmp_path}"),
        "--global-property=models,apis,supportingFiles,modelDocs=false,apiDocs=false,modelTests=false,apiTests=false",
    )

    assert unexpected(generated, "WARN", GENERATOR_WARNINGS) == []
    check_python(api, "with_openapi_generator", tmp_path, GENERATOR_TYPE_ERRORS)


def test_openapi_fetch(api: Api, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(NODE_MODULES)
    program = shutil.copy(PROGRAMS / "with_openapi_fetch.mts", tmp_path)

    generated = output_of(
        NODE_MODULES / ".bin" / "openapi-typescript", CONTRACT, f"--output={tmp_path / 'schema.d.mts'}"
    )
    output_of(
        NODE_MODULES / ".bin" / "tsc",
        *("--strict", "--skipLibCheck", "--module", "nodenext", "--target", "es2022"),
        *("--lib", "es2022,dom,dom.iterable", program),
    )

    assert [line[0] for line in generated.strip().splitlines()] == ["✨", "🚀"]
    assert result_of(api, "node", tmp_path / "with_openapi_fetch.mjs") == RESULT
