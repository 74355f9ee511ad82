"""The tables the app makes: the idempotency table, and in a sandbox the metering table."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb

if TYPE_CHECKING:
    from constructs import Construct

_RECOVERABLE = dynamodb.PointInTimeRecoverySpecification(point_in_time_recovery_enabled=True)


class IdempotencyTable(dynamodb.Table):
    """A table whose rows, each a chunk of a request that was written, expire by themselves.

    It outlives the stack: without it, a retry of an earlier request would be billed again.

    Parameters
    ----------
    scope : Construct
        The construct it belongs to.
    construct_id : str
        Its id there.
    """

    def __init__(self, scope: Construct, construct_id: str) -> None:
        super().__init__(
            scope,
            construct_id,
            partition_key=dynamodb.Attribute(name="id", type=dynamodb.AttributeType.STRING),
            time_to_live_attribute="expiration",
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=_RECOVERABLE,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            removal_policy=RemovalPolicy.RETAIN,
        )


class SandboxMeteringTable(dynamodb.Table):
    """The metering table, where there is no quickstart that has made it; it outlives the stack.

    Parameters
    ----------
    scope : Construct
        The construct it belongs to.
    construct_id : str
        Its id there.
    table_name : str
        Its name, by which an hourly job would find it.
    """

    def __init__(self, scope: Construct, construct_id: str, *, table_name: str) -> None:
        super().__init__(
            scope,
            construct_id,
            table_name=table_name,
            partition_key=dynamodb.Attribute(name="customerIdentifier", type=dynamodb.AttributeType.STRING),
            sort_key=dynamodb.Attribute(name="create_timestamp", type=dynamodb.AttributeType.NUMBER),
            billing_mode=dynamodb.BillingMode.PAY_PER_REQUEST,
            point_in_time_recovery_specification=_RECOVERABLE,
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            removal_policy=RemovalPolicy.RETAIN,
        )
        self.add_global_secondary_index(
            index_name="PendingMeteringRecordsIndex",
            partition_key=dynamodb.Attribute(name="metering_pending", type=dynamodb.AttributeType.STRING),
        )
