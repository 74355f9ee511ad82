"""One Lambda function of the API, with its role and its log group."""

from collections.abc import Mapping
from typing import cast

from aws_cdk import Acknowledgment, Duration, RemovalPolicy, Stack, Validations
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam
from aws_cdk import aws_lambda as lambda_
from aws_cdk import aws_logs as logs
from constructs import Construct

from infra.config import Config
from infra.functions import METRICS_NAMESPACE, FunctionSpec, Table

Tables = Mapping[Table, dynamodb.ITable]

TIMEOUT = Duration.seconds(27)
"""2 s less than API Gateway's time-out, which includes cold starts.

29 s is the default integration timeout (Amazon API Gateway Developer Guide, "Quotas"). The function's 503
says what is stored and until when to resume; API Gateway's 504 cannot.
"""


class RetainedLogGroup(logs.LogGroup):
    """A log group that is kept when the stack is deleted; ``name`` is for a service that requires one."""

    def __init__(self, scope: Construct, construct_id: str, config: Config, name: str | None = None) -> None:
        super().__init__(scope, construct_id, removal_policy=RemovalPolicy.RETAIN, log_group_name=name)
        cast("logs.CfnLogGroup", self.node.default_child).retention_in_days = config.log_retention_days


class MeteringFunction(Construct):
    """A function of ``src/metering_handlers``, with access to the tables of its ``table_actions``."""

    def __init__(
        self, scope: Construct, spec: FunctionSpec, *, config: Config, code: lambda_.Code, tables: Tables
    ) -> None:
        super().__init__(scope, spec.name)
        self.spec = spec
        own_tables = [table for table in spec.table_actions if table in tables]
        self.log_group = RetainedLogGroup(self, "Logs", config)
        # A role of its own: the managed policy that CDK would attach allows writing to every log group.
        role = iam.Role(
            self,
            "Role",
            assumed_by=iam.ServicePrincipal("lambda.amazonaws.com"),
            description=f"Permissions of {spec.module}.",
        )
        self.log_group.grant_write(role)
        of_inserts = {
            "IDEMPOTENCY_HOURS": str(config.idempotency_hours),
            "TRANSACTION_ID_DAYS": str(config.transaction_id_days),
            "CUSTOMER_IDENTIFIERS": ",".join(config.customer_identifiers),
        }
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
                **(of_inserts if spec.inserts else {}),
            },
        )
        for table in own_tables:
            # The grant methods of the table would allow the actions on its indexes too.
            self.function.add_to_role_policy(
                iam.PolicyStatement(actions=[*spec.table_actions[table]], resources=[tables[table].table_arn])
            )
        if config.metering_table_kms_key_arn:
            self._allow_key(config.metering_table_kms_key_arn, config)
        Validations.of(self).acknowledge(
            Acknowledgment(
                id="AwsSolutions::AwsSolutions-L1",
                reason="Python 3.13 is what the functions are tested on; AWS supports it until June 2029.",
            ),
        )

    def _allow_key(self, key_arn: str, config: Config) -> None:
        """Let the function use the metering table's key, through DynamoDB only.

        AWS documents the value of ``kms:ViaService`` for amazonaws.com only ("AWS KMS condition keys", AWS
        Key Management Service Developer Guide); partitions with another domain get both.
        """
        writing = ["kms:Encrypt", "kms:GenerateDataKey"] if self.spec.inserts else []
        domains = dict.fromkeys(["amazonaws.com", config.partition.dns_suffix])
        services = [f"dynamodb.{config.aws_region_name}.{domain}" for domain in domains]
        self.function.add_to_role_policy(
            iam.PolicyStatement(
                actions=["kms:Decrypt", *writing],
                resources=[key_arn],
                conditions={"StringEquals": {"kms:ViaService": services}},
            )
        )
