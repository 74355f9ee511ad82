"""The app's stack, synthesized in process and without bundling."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import aws_cdk as cdk
import pytest
from aws_cdk.assertions import Template

from infra.config import Config
from infra.metering_records_stack import MeteringRecordsStack

PARAMS = {"aws_region_name": "us-east-1", "metering_table_name": "AWSMarketplaceMeteringRecords"}

FEATURE_FLAGS = json.loads((Path(__file__).parents[3] / "cdk.json").read_text())["context"]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Template]:
    def template(context: Mapping[str, str] | None = None, **params: object) -> Template:
        # pip would run for minutes over all tests; that the bundle works shows in the integration tests.
        app = cdk.App(
            context={**FEATURE_FLAGS, "aws:cdk:bundling-stacks": [], **(context or {})},
            outdir=str(tmp_path_factory.mktemp("cdk.out")),
        )
        config = Config.from_context(PARAMS | params)
        env = cdk.Environment(region=config.aws_region_name)
        return Template.from_stack(MeteringRecordsStack(app, config.stack_name, config=config, env=env))

    return template


@pytest.fixture(scope="session")
def template(synthesize: Callable[..., Template]) -> Template:
    return synthesize()
