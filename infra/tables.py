"""The tables that the app creates: the idempotency table, and in a sandbox the metering table.

Both have fixed names and outlive the stack, so a later deployment imports them
(``cdk deploy --import-existing-resources``; docs/decisions/0005-tables-outlive-the-stack.md).
"""

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb
from constructs import Construct

from metering_handlers.contract.attributes import (
    DELETE_AFTER,
    PARTITION_KEY,
    PENDING_INDEX,
    PENDING_INDEX_KEY,
    ROW_ID,
    SORT_KEY,
)

_TYPES = {"S": dynamodb.AttributeType.STRING, "N": dynamodb.AttributeType.NUMBER}
_RECOVERABLE = dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True)


class IdempotencyTable(dynamodb.Table):
    """Table with a row for each entry with a ``transaction_id``, and for each written chunk of a request.

    A new deployment of the stack finds it by its name: without its rows, usage that the deleted stack has
    stored would be billed again when it is sent again.
    """

    def __init__(self, scope: Construct, table_name: str) -> None:
        super().__init__(
            scope,
            "IdempotencyTable",
            table_name=table_name,
            partition_key=dynamodb.Attribute(name=ROW_ID, type=dynamodb.AttributeType.STRING),
            time_to_live_attribute=DELETE_AFTER,
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=_RECOVERABLE,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            deletion_protection=True,
            removal_policy=RemovalPolicy.RETAIN,
        )


class SandboxMeteringTable(dynamodb.Table):
    """The metering table, for a sandbox without the quickstart."""

    def __init__(self, scope: Construct, table_name: str) -> None:
        super().__init__(
            scope,
            "MeteringTable",
            table_name=table_name,
            partition_key=_attribute(PARTITION_KEY),
            sort_key=_attribute(SORT_KEY),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=_RECOVERABLE,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.add_global_secondary_index(index_name=PENDING_INDEX, partition_key=_attribute(PENDING_INDEX_KEY))


def _attribute(key: tuple[str, str]) -> dynamodb.Attribute:
    name, type_code = key
    return dynamodb.Attribute(name=name, type=_TYPES[type_code])
