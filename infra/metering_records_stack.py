"""The stack: API, functions, tables, alarms, dashboard and saved queries."""

from __future__ import annotations

from aws_cdk import Environment, Stack
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from infra.api.firewall import Firewall
from infra.api.metering_api import MeteringApi
from infra.bundling import Target, function_code
from infra.config import Config
from infra.functions import FUNCTIONS, Table
from infra.metering_function import MeteringFunction
from infra.operations.monitoring import Operations
from infra.tables import IdempotencyTable, SandboxMeteringTable
from metering_handlers.contract.deployment import idempotency_table_name


class MeteringRecordsStack(Stack):
    """All resources of one deployment."""

    def __init__(self, scope: Construct, config: Config) -> None:
        super().__init__(
            scope,
            config.stack_name,
            env=Environment(region=config.aws_region_name),
            description="REST API for AWS Marketplace metering records",
        )
        tables: dict[Table, dynamodb.ITable] = {
            Table.METERING: self._metering_table(config),
            Table.IDEMPOTENCY: IdempotencyTable(
                self, "IdempotencyTable", table_name=idempotency_table_name(self.stack_name)
            ),
        }
        if config.subscribers_table_name:
            tables[Table.SUBSCRIBERS] = dynamodb.Table.from_table_name(
                self, "SubscribersTable", config.subscribers_table_name
            )
        target = Target.from_context(self.node, config.lambda_architecture)
        code = function_code(self, target, config.dimensions)
        functions = [
            MeteringFunction(self, spec, config=config, code=code, tables=tables) for spec in FUNCTIONS
        ]
        api = MeteringApi(self, "Api", config=config, functions=functions)
        if config.waf:
            Firewall(
                self,
                "Firewall",
                stage_arn=api.rest_api.deployment_stage.stage_arn,
                throttle=config.throttle,
            )
        Operations(self, "Operations", config=config, functions=functions, api=api)

    def _metering_table(self, config: Config) -> dynamodb.ITable:
        if config.create_metering_table:
            return SandboxMeteringTable(self, "MeteringTable", table_name=config.metering_table_name)
        return dynamodb.Table.from_table_name(self, "MeteringTable", config.metering_table_name)
