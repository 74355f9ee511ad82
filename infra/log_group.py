"""A log group as every part of the app has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from aws_cdk import RemovalPolicy
from aws_cdk import aws_logs as logs

if TYPE_CHECKING:
    from constructs import Construct


class RetainedLogGroup(logs.LogGroup):
    """A log group that forgets after some days, and outlives the stack until then.

    Parameters
    ----------
    scope : Construct
        The construct it belongs to.
    construct_id : str
        Its id there.
    retention_days : int
        How long log lines are kept.
    name : str | None
        Its physical name, where a service asks for a certain one.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, retention_days: int, name: str | None = None
    ) -> None:
        super().__init__(scope, construct_id, removal_policy=RemovalPolicy.RETAIN, log_group_name=name)
        cfn_log_group = cast("logs.CfnLogGroup", self.node.default_child)
        cfn_log_group.retention_in_days = retention_days
