"""The stack of the default configuration."""

import pytest
from aws_cdk.assertions import Template

from tests.unit.infra.stacks import synthesize


@pytest.fixture(scope="session")
def template() -> Template:
    return synthesize()
