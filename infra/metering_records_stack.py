"""The stack: the API, its three functions, and what each may do with the metering table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput, Stack
from aws_cdk import aws_dynamodb as dynamodb

from infra.bundling import Target, function_code
from infra.idempotency_table import IdempotencyTable
from infra.metering_api import MeteringApi
from infra.metering_function import MeteringFunction

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
        metering_table = dynamodb.Table.from_table_name(self, "MeteringTable", config.metering_table_name)
        self.idempotency_table = IdempotencyTable(self, "IdempotencyTable")
        list_environment = {"METERING_TABLE_NAME": metering_table.table_name}
        insert_environment = {
            **list_environment,
            "IDEMPOTENCY_TABLE_NAME": self.idempotency_table.table_name,
            "IDEMPOTENCY_HOURS": str(config.idempotency_hours),
        }
        code = function_code(Target.from_context(self.node))
        self.insert_one = MeteringFunction(
            self,
            "InsertMeteringRecord",
            module="insert_metering_record",
            description="Stores one customer's usage.",
            code=code,
            memory_mb=512,
            environment=insert_environment,
        )
        self.insert_many = MeteringFunction(
            self,
            "InsertMeteringRecords",
            module="insert_metering_records",
            description="Stores many customers' usage.",
            code=code,
            memory_mb=1024,
            environment=insert_environment,
        )
        self.list_records = MeteringFunction(
            self,
            "ListMeteringRecords",
            module="list_metering_records",
            description="Lists a customer's records and what became of them.",
            code=code,
            memory_mb=512,
            environment=list_environment,
        )
        for inserting in (self.insert_one, self.insert_many):
            metering_table.grant(inserting.function, "dynamodb:PutItem")
            self.idempotency_table.grant(inserting.function, "dynamodb:PutItem")
        metering_table.grant(self.list_records.function, "dynamodb:Query")
        self.api = MeteringApi(
            self,
            "Api",
            insert_one=self.insert_one.function,
            insert_many=self.insert_many.function,
            list_records=self.list_records.function,
        )
        CfnOutput(self, "ApiUrl", value=self.api.rest_api.url, description="The API; its routes follow.")
