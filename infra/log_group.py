"""The log groups of all parts of the app."""

from __future__ import annotations

from typing import cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs
from constructs import Construct


class RetainedLogGroup(logs.LogGroup):
    """A log group with a retention period, which is kept when the stack is deleted.

    ``name`` is for a service that requires a certain one.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, retention_days: int, name: str | None = None
    ) -> None:
        super().__init__(scope, construct_id, removal_policy=RemovalPolicy.RETAIN, log_group_name=name)
        cfn_log_group = cast("logs.CfnLogGroup", self.node.default_child)
        cfn_log_group.retention_in_days = retention_days
