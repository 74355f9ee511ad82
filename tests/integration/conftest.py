"""The stack, deployed once to a local cloud for the whole session."""

import uuid
from collections.abc import Iterator

import pytest

from tools.local_cloud.cloud import local_cloud
from tools.local_cloud.deploy import Api, deploy, read_config


@pytest.fixture(scope="session")
def api() -> Iterator[Api]:
    """Deploy the app; meanwhile a plain ``boto3.client`` talks to the local cloud."""
    config = read_config()
    with local_cloud(config.aws_region_name) as cloud:
        yield deploy(cloud, config)


@pytest.fixture
def customer() -> str:
    """Return a customer identifier that no other test has."""
    return f"c-{uuid.uuid4()}"
