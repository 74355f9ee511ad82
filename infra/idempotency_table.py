"""The idempotency table: what makes a repeated request safe."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import RemovalPolicy
from aws_cdk import aws_dynamodb as dynamodb

if TYPE_CHECKING:
    from constructs import Construct


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
            point_in_time_recovery_specification=dynamodb.PointInTimeRecoverySpecification(
                point_in_time_recovery_enabled=True
            ),
            encryption=dynamodb.TableEncryption.AWS_MANAGED,
            removal_policy=RemovalPolicy.RETAIN,
        )
