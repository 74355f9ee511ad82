"""The stack: API, functions, tables, alarms, dashboard and saved queries."""

from aws_cdk import Environment, Stack
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from infra.api.firewall import Firewall
from infra.api.metering_api import MeteringApi
from infra.bundling import function_code
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
            Table.METERING: SandboxMeteringTable(self, config.metering_table_name)
            if config.create_metering_table
            else dynamodb.Table.from_table_name(self, "MeteringTable", config.metering_table_name),
            Table.IDEMPOTENCY: IdempotencyTable(self, idempotency_table_name(self.stack_name)),
        }
        if config.subscribers_table_name:
            tables[Table.SUBSCRIBERS] = dynamodb.Table.from_table_name(
                self, "SubscribersTable", config.subscribers_table_name
            )
        code = function_code(self, config)
        functions = [
            MeteringFunction(self, spec, config=config, code=code, tables=tables) for spec in FUNCTIONS
        ]
        api = MeteringApi(self, config, functions)
        if config.waf:
            Firewall(self, api.rest_api.deployment_stage.stage_arn, config.throttle)
        Operations(self, config, functions, api)
