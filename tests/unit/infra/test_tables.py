"""The tables that the stack creates."""

from aws_cdk.assertions import Match, Template

from infra.config import Config
from tests.unit.infra.stacks import PARAMS, synthesize


def test_the_idempotency_table_is_backed_up_and_outlives_the_stack(template: Template) -> None:
    """CloudFormation imports only what has a literal name and is retained.

    "Import AWS resources into a CloudFormation stack automatically", AWS CloudFormation User Guide.
    """
    template.has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": {
                "TableName": f"{Config.from_context(PARAMS).stack_name}-idempotency",
                "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                "BillingMode": "PAY_PER_REQUEST",
                "TimeToLiveSpecification": {"AttributeName": "delete_after", "Enabled": True},
                "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
                "SSESpecification": {"SSEEnabled": True},
                "DeletionProtectionEnabled": True,
            },
        },
    )


def test_a_sandbox_gets_a_metering_table_with_the_quickstarts_schema() -> None:
    synthesize(create_metering_table=True).has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": Match.object_like(
                {
                    "TableName": "AWSMarketplaceMeteringRecords",
                    "BillingMode": "PAY_PER_REQUEST",
                    "KeySchema": [
                        {"AttributeName": "customerIdentifier", "KeyType": "HASH"},
                        {"AttributeName": "create_timestamp", "KeyType": "RANGE"},
                    ],
                    "AttributeDefinitions": [
                        {"AttributeName": "customerIdentifier", "AttributeType": "S"},
                        {"AttributeName": "create_timestamp", "AttributeType": "N"},
                        {"AttributeName": "metering_pending", "AttributeType": "S"},
                    ],
                    "GlobalSecondaryIndexes": [
                        {
                            "IndexName": "PendingMeteringRecordsIndex",
                            "KeySchema": [{"AttributeName": "metering_pending", "KeyType": "HASH"}],
                            "Projection": {"ProjectionType": "ALL"},
                        }
                    ],
                }
            ),
        },
    )
