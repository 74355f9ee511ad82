"""The stack: the API, its three functions, and what each may do with the metering table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Stack
from aws_cdk import aws_dynamodb as dynamodb
from aws_cdk import aws_iam as iam

from infra.api.firewall import Firewall
from infra.api.metering_api import MeteringApi
from infra.bundling import Target, function_code
from infra.metering_function import MeteringFunction
from infra.tables import IdempotencyTable, SandboxMeteringTable

if TYPE_CHECKING:
    from aws_cdk import Environment
    from constructs import Construct

    from infra.config import Config


class MeteringRecordsStack(Stack):
    """Everything that takes usage in and lists it.

    Parameters
    ----------
    scope : Construct
        The app.
    construct_id : str
        The stack's name.
    config : Config
        The checked parameters.
    env : Environment
        Where the stack goes.
    """

    def __init__(self, scope: Construct, construct_id: str, *, config: Config, env: Environment) -> None:
        super().__init__(
            scope, construct_id, env=env, description="REST API for AWS Marketplace metering records"
        )
        metering_table = self._metering_table(config)
        self.idempotency_table = IdempotencyTable(self, "IdempotencyTable")
        list_environment = {"METERING_TABLE_NAME": metering_table.table_name}
        insert_environment = {
            **list_environment,
            "IDEMPOTENCY_TABLE_NAME": self.idempotency_table.table_name,
            "IDEMPOTENCY_HOURS": str(config.idempotency_hours),
        }
        code = function_code(Target.from_context(self.node, config.lambda_architecture))
        self.insert_one = MeteringFunction(
            self,
            "InsertMeteringRecord",
            module="insert_metering_record",
            description="Stores one customer's usage.",
            config=config,
            code=code,
            memory_mb=512,
            environment=insert_environment,
        )
        self.insert_many = MeteringFunction(
            self,
            "InsertMeteringRecords",
            module="insert_metering_records",
            description="Stores many customers' usage.",
            config=config,
            code=code,
            memory_mb=1024,
            environment=insert_environment,
        )
        self.list_records = MeteringFunction(
            self,
            "ListMeteringRecords",
            module="list_metering_records",
            description="Lists a customer's records and what became of them.",
            config=config,
            code=code,
            memory_mb=512,
            environment=list_environment,
        )
        for inserting in (self.insert_one, self.insert_many):
            _allow(inserting, "dynamodb:PutItem", metering_table, self.idempotency_table)
        _allow(self.list_records, "dynamodb:Query", metering_table)
        if config.metering_table_kms_key_arn:
            self._let_use_key(config.metering_table_kms_key_arn)
        self.api = MeteringApi(
            self,
            "Api",
            config=config,
            insert_one=self.insert_one.function,
            insert_many=self.insert_many.function,
            list_records=self.list_records.function,
        )
        if config.waf:
            Firewall(self, "Firewall", stage_arn=self.api.rest_api.deployment_stage.stage_arn)

    def _metering_table(self, config: Config) -> dynamodb.ITable:
        if config.create_metering_table:
            return SandboxMeteringTable(self, "MeteringTable", table_name=config.metering_table_name)
        return dynamodb.Table.from_table_name(self, "MeteringTable", config.metering_table_name)

    def _let_use_key(self, key_arn: str) -> None:
        """Let the functions use the metering table's key, through DynamoDB and not by themselves."""
        through_dynamodb = {"StringEquals": {"kms:ViaService": f"dynamodb.{self.region}.amazonaws.com"}}
        for function, actions in (
            (self.insert_one, ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]),
            (self.insert_many, ["kms:Decrypt", "kms:Encrypt", "kms:GenerateDataKey"]),
            (self.list_records, ["kms:Decrypt"]),
        ):
            function.function.add_to_role_policy(
                iam.PolicyStatement(actions=actions, resources=[key_arn], conditions=through_dynamodb)
            )


def _allow(function: MeteringFunction, action: str, *tables: dynamodb.ITable) -> None:
    """Allow one action on tables; their own grants would allow it on their indexes too."""
    function.function.add_to_role_policy(
        iam.PolicyStatement(actions=[action], resources=[table.table_arn for table in tables])
    )
