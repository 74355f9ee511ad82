"""cdk-nag and cfn-lint, over every variant of the configuration."""

import json
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks

from app import build
from infra.config import Config
from tests.unit.infra.conftest import FEATURE_FLAGS, PARAMS
from tests.unit.infra.variants import VARIANTS


def test_every_parameter_has_a_variant() -> None:
    assert set(PARAMS).union(*VARIANTS.values()) == set(Config.model_fields)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_nothing_is_found_that_is_not_answered_for(params: dict[str, object], tmp_path: Path) -> None:
    app = cdk.App(context=FEATURE_FLAGS | {"aws:cdk:bundling-stacks": []}, outdir=str(tmp_path))
    build(app, Config.from_context(PARAMS | params))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))

    # Raises if there are findings.
    app.synth()

    report = json.loads((tmp_path / "validation-report.json").read_text())
    assert [violation for plugin in report["pluginReports"] for violation in plugin["violations"]] == []
    templates = [str(path) for path in tmp_path.glob("*.template.json")]
    assert templates
    # W3005 is about dependencies that CDK writes down though a reference implies them.
    linted = subprocess.run(  # noqa: S603 - the linter of this environment
        [Path(sys.executable).with_name("cfn-lint"), "--ignore-checks", "W3005", "--", *templates],
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.stdout == ""
    assert linted.returncode == 0
