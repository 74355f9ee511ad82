"""One Lambda function of the API, with its role and its log group."""

from __future__ import annotations

from collections.abc import Mapping

from aws_cdk import Acknowledgment, Duration, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from constructs import Construct

from infra.config import Config
from infra.functions import METRICS_NAMESPACE, PUT_ITEM, FunctionSpec, Table
from infra.log_group import RetainedLogGroup
from infra.partitions import partition_of

TIMEOUT = Duration.seconds(27)
"""2 s less than API Gateway's time-out, which includes cold starts.

29 s is the default integration timeout (Amazon API Gateway Developer Guide, "Quotas"). The function's 503
says what is stored and until when to resume; API Gateway's 504 cannot.
"""


class MeteringFunction(Construct):
    """A function of ``src/metering_handlers``, with access to the tables of its ``table_actions``."""

    def __init__(
        self,
        scope: Construct,
        spec: FunctionSpec,
        *,
        config: Config,
        code: lambda_.Code,
        tables: Mapping[Table, dynamodb.ITable],
    ) -> None:
        super().__init__(scope, spec.name)
        self.spec = spec
        own_tables = [table for table in spec.table_actions if table in tables]
        self.log_group = RetainedLogGroup(self, "Logs", retention_days=config.log_retention_days)
        # A role of its own: the managed policy that CDK would attach allows writing to every log group.
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Permissions of {spec.module}.",
        )
        self.log_group.grant_write(role)
        self.function = lambda_.Function(
            self,
            "Function",
            description=spec.description,
            code=code,
            handler=f"metering_handlers.{spec.module}.lambda_handler",
            runtime=lambda_.Runtime.PYTHON_3_13,
            architecture=lambda_.Architecture.custom(config.lambda_architecture),
            memory_size=spec.memory_mb,
            timeout=TIMEOUT,
            role=role,
            log_group=self.log_group,
            logging_format=lambda_.LoggingFormat.JSON,
            environment={
                "POWERTOOLS_SERVICE_NAME": Stack.of(self).stack_name,
                "POWERTOOLS_METRICS_NAMESPACE": METRICS_NAMESPACE,
                # Lambda's own AWS_LAMBDA_LOG_LEVEL is stronger than POWERTOOLS_LOG_LEVEL.
                "METERING_LOG_LEVEL": config.log_level,
                **{table: tables[table].table_name for table in own_tables},
                **spec.settings(config),
            },
        )
        for table in own_tables:
            # The grant methods of the table would allow the actions on its indexes too.
            self._allow([*spec.table_actions[table]], tables[table].table_arn)
        if config.metering_table_kms_key_arn:
            self._allow_key(config.metering_table_kms_key_arn)
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="AwsSolutions::AwsSolutions-L1",
                reason="Python 3.13 is what the functions are tested on; AWS supports it until June 2029.",
            ),
        )

    def _allow(
        self, actions: list[str], resource: str, conditions: Mapping[str, object] | None = None
    ) -> None:
        self.function.add_to_role_policy(
            iam.PolicyStatement(actions=actions, resources=[resource], conditions=conditions)
        )

    def _allow_key(self, key_arn: str) -> None:
        """Let the function use the metering table's key, through DynamoDB only.

        AWS documents the value of ``kms:ViaService`` for amazonaws.com only ("AWS KMS condition keys", AWS
        Key Management Service Developer Guide); partitions with another domain get both.
        """
        actions = ["kms:Decrypt"]
        if PUT_ITEM in self.spec.table_actions[Table.METERING]:
            actions += ["kms:Encrypt", "kms:GenerateDataKey"]
        region = Stack.of(self).region
        suffixes = dict.fromkeys(["amazonaws.com", partition_of(region).dns_suffix])
        services = [f"dynamodb.{region}.{suffix}" for suffix in suffixes]
        self._allow(actions, key_arn, {"StringEquals": {"kms:ViaService": services}})
