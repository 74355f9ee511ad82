"""cdk-nag and cfn-lint, over every variant of the configuration."""

import json
import subprocess
import sys
from pathlib import Path

import aws_cdk as cdk
import pytest
from cdk_nag import AwsSolutionsChecks

from infra.config import Config
from infra.metering_records_stack import MeteringRecordsStack
from tests.unit.infra.stacks import CONTEXT, PARAMS, REGIONS, VARIANTS, synthesize


def test_every_parameter_has_a_variant() -> None:
    assert set(PARAMS).union(*VARIANTS.values()) == set(Config.model_fields)


@pytest.mark.parametrize("params", VARIANTS.values(), ids=VARIANTS)
def test_cdk_nag_finds_only_what_is_acknowledged(params: dict[str, object], tmp_path: Path) -> None:
    app = cdk.App(context=CONTEXT, outdir=str(tmp_path))
    MeteringRecordsStack(app, Config.from_context(PARAMS | params))
    cdk.Validations.of(app).add_plugins(AwsSolutionsChecks(app))

    # Raises if there are findings.
    app.synth()

    report = json.loads((tmp_path / "validation-report.json").read_text())
    assert [plugin["violations"] for plugin in report["pluginReports"] if plugin["violations"]] == []


def test_cfn_lint_finds_nothing(tmp_path: Path) -> None:
    """In the regions of all partitions, in one process: importing the linter takes longer than a template."""
    templates = []
    for number, params in enumerate(VARIANTS.values()):
        templates.append(tmp_path / f"{number}.json")
        templates[-1].write_text(json.dumps(synthesize(**params).to_json()))

    # W3005 is about dependencies that CDK writes down though a reference implies them.
    linted = subprocess.run(  # noqa: S603 - the linter of this environment
        [
            Path(sys.executable).with_name("cfn-lint"),
            *("--ignore-checks", "W3005"),
            *("--regions", *REGIONS.values(), "--"),
            *templates,
        ],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (linted.stdout, linted.returncode) == ("", 0)
