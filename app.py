"""The CDK app: what ``cdk synth`` and ``cdk deploy`` run."""

import sys

import aws_cdk as cdk

from infra.config import Config, ConfigError
from infra.metering_records_stack import MeteringRecordsStack


def build(app: cdk.App, config: Config) -> None:
    """Add the stack to the app.

    Parameters
    ----------
    app : App
        The CDK app.
    config : Config
        The checked parameters.
    """
    env = cdk.Environment(region=config.aws_region_name)
    MeteringRecordsStack(app, config.stack_name, config=config, env=env)


def main() -> None:
    """Synthesize the app for the parameters in ``cdk.context.json``."""
    app = cdk.App()
    try:
        config = Config.from_context(app.node.try_get_context("params"))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    build(app, config)
    app.synth()


if __name__ == "__main__":
    main()
