"""One Lambda function of the API, with its log group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Duration, RemovalPolicy
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

if TYPE_CHECKING:
    from collections.abc import Mapping

TIMEOUT = Duration.seconds(29)
"""API Gateway waits no longer for a function (integration timeout of a regional REST API, default quota)."""


class MeteringFunction(Construct):
    """A function of ``src/metering_handlers``.

    Parameters
    ----------
    scope : Construct
        The construct it belongs to.
    construct_id : str
        Its id there.
    module : str
        The module of ``metering_handlers`` whose ``lambda_handler`` it runs.
    description : str
        What it does, for the console.
    code : Code
        The code that the functions share.
    memory_mb : int
        Memory in MB, and with it the share of a CPU (1,769 MB is one).
    environment : Mapping[str, str]
        What it needs beyond the settings of Powertools.
    """

    def __init__(  # noqa: PLR0913 - a function has that many properties
        self,
        scope: Construct,
        construct_id: str,
        *,
        module: str,
        description: str,
        code: lambda_.Code,
        memory_mb: int,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = logs.LogGroup(
            self, "Logs", retention=logs.RetentionDays.THREE_MONTHS, removal_policy=RemovalPolicy.RETAIN
        )
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            code=code,
            handler=f"metering_handlers.{module}.lambda_handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.ARM_64,
            memory_size=memory_mb,
            timeout=TIMEOUT,
            log_group=self.log_group,
            environment={
                "POWERTOOLS_SERVICE_NAME": "metering-api",
                "POWERTOOLS_METRICS_NAMESPACE": "MarketplaceMetering",
                "POWERTOOLS_LOG_LEVEL": "INFO",
                **environment,
            },
        )
