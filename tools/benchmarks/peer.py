"""The function a seller would write instead: Powertools with its idempotency utility, and boto3's table.

Its parts are those of Powertools' documentation ("Event handler: REST API", "Idempotency") and of boto3's
("DynamoDB: batch writing").
"""

import os
import time
from typing import Any

import boto3
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.logging import correlation_paths
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent,
)
from aws_lambda_powertools.utilities.typing import LambdaContext
from pydantic import BaseModel, Field

logger = Logger()
metrics = Metrics()
app = APIGatewayRestResolver(enable_validation=True)
table = boto3.resource("dynamodb").Table(os.environ["METERING_TABLE_NAME"])
persistence = DynamoDBPersistenceLayer(table_name=os.environ["IDEMPOTENCY_TABLE_NAME"])
idempotency = IdempotencyConfig(event_key_jmespath="requestContext.requestId")


class Dimension(BaseModel):
    dimension_name: str = Field(min_length=1, max_length=255)
    dimension_value: int = Field(ge=0, le=2_147_483_647)


class Usage(BaseModel):
    metered_dimensions: list[Dimension] = Field(min_length=1, max_length=25)


class BuyerUsage(Usage):
    customerIdentifier: str = Field(min_length=1, max_length=128)  # noqa: N815


class Buyers(BaseModel):
    buyers: list[BuyerUsage] = Field(min_length=1, max_length=10_000)


def record(customer: str, usage: Usage) -> dict[str, Any]:
    return {
        "customerIdentifier": customer,
        "create_timestamp": time.time_ns() // 1_000_000,
        "metering_pending": "true",
        "dimension_usage": [
            {"dimension": used.dimension_name, "value": used.dimension_value}
            for used in usage.metered_dimensions
        ],
    }


@app.post("/insertMeteringRecord/<customer>")
def insert_one(customer: str, usage: Usage) -> dict[str, str]:
    table.put_item(
        Item=record(customer, usage), ConditionExpression="attribute_not_exists(customerIdentifier)"
    )
    metrics.add_metric("RecordsInserted", MetricUnit.Count, 1)
    return {}


@app.post("/insertMeteringRecords")
def insert_many(usage: Buyers) -> dict[str, str]:
    with table.batch_writer() as batch:
        for buyer in usage.buyers:
            batch.put_item(Item=record(buyer.customerIdentifier, buyer))
    metrics.add_metric("RecordsInserted", MetricUnit.Count, len(usage.buyers))
    return {}


@logger.inject_lambda_context(correlation_id_path=correlation_paths.API_GATEWAY_REST)
@metrics.log_metrics
@idempotent(config=idempotency, persistence_store=persistence)
def lambda_handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    logger.info("Request received")
    return app.resolve(event, context)
