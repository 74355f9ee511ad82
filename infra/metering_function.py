"""One Lambda function of the API, with its role and its log group."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Acknowledgment, Duration, Validations
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.log_group import RetainedLogGroup

if TYPE_CHECKING:
    from collections.abc import Mapping

    from infra.config import Config

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
    config : Config
        The checked parameters.
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
        config: Config,
        code: lambda_.Code,
        memory_mb: int,
        environment: Mapping[str, str],
    ) -> None:
        super().__init__(scope, construct_id)
        self.log_group = RetainedLogGroup(self, "Logs", retention_days=config.log_retention_days)
        # A role of its own: the managed policy that CDK would take lets a function write to every log group.
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"What {module} may do.",
        )
        self.log_group.grant_write(role)
        self.function = lambda_.Function(
            self,
            "Function",
            description=description,
            code=code,
            handler=f"metering_handlers.{module}.lambda_handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.custom(config.lambda_architecture),
            memory_size=memory_mb,
            timeout=TIMEOUT,
            role=role,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            tracing=lambda_.Tracing.ACTIVE,
            environment={
                "POWERTOOLS_SERVICE_NAME": "metering-api",
                "POWERTOOLS_METRICS_NAMESPACE": "MarketplaceMetering",
                "POWERTOOLS_LOG_LEVEL": config.log_level,
                **environment,
            },
        )
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="AwsSolutions::AwsSolutions-IAM5[Resource::*]",
                reason="X-Ray's actions know no resources; all else that the role may do names its resource.",
            ),
            Acknowledgment(
                id="AwsSolutions::AwsSolutions-L1",
                reason="Python 3.13 is what the functions are tested on; AWS supports it until June 2029.",
            ),
        )
