"""The CDK app: what ``cdk synth`` and ``cdk deploy`` run."""

import sys

import aws_cdk as cdk

from infra.config import Config, ConfigError
from infra.metering_records_stack import MeteringRecordsStack


def main() -> None:
    """Synthesize the stack for the parameters in ``cdk.context.json``."""
    app = cdk.App()
    try:
        config = Config.from_context(app.node.try_get_context("params"))
    except ConfigError as error:
        sys.exit(f"error: {error}")
    MeteringRecordsStack(app, config)
    app.synth()


if __name__ == "__main__":
    main()
