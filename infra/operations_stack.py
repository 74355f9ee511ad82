"""What an operator looks at: alarms, a dashboard and saved queries, in a stack of their own.

It can be changed, or left out, without touching the API. It refers to the API's functions and log groups by
CloudFormation exports; those names never change while the API's stack lives, so the exports block no update.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_kms as kms
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions

from infra.operations.alarms import metering_alarms
from infra.operations.dashboard import metering_dashboard
from infra.operations.saved_queries import save_queries

if TYPE_CHECKING:
    from aws_cdk import Environment
    from constructs import Construct

    from infra.config import Config
    from infra.metering_records_stack import MeteringRecordsStack


class OperationsStack(Stack):
    """Alarms to an SNS topic, a dashboard, and saved queries of CloudWatch Logs Insights.

    Parameters
    ----------
    scope : Construct
        The app.
    construct_id : str
        The stack's name.
    config : Config
        The checked parameters.
    metering : MeteringRecordsStack
        What is watched.
    env : Environment
        Where the stack goes: where the watched one is.
    """

    def __init__(
        self,
        scope: Construct,
        construct_id: str,
        *,
        config: Config,
        metering: MeteringRecordsStack,
        env: Environment,
    ) -> None:
        super().__init__(
            scope, construct_id, env=env, description="Alarms and dashboard of the metering records API"
        )
        topic = self._topic(config.alarm_email)
        alarms = metering_alarms(self, metering)
        for alarm in alarms:
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))
        metering_dashboard(self, metering, alarms, config.metering_table_name)
        save_queries(self, metering)

    def _topic(self, alarm_email: str | None) -> sns.Topic:
        # A key of our own: CloudWatch may not use the one that AWS manages for SNS.
        key = kms.Key(self, "TopicKey", enable_key_rotation=True, description="For alarms on their way.")
        key.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["kms:Decrypt", "kms:GenerateDataKey"],
                resources=["*"],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        topic = sns.Topic(self, "Alarms", master_key=key, enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": self.account}},
            )
        )
        if alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(alarm_email))
        return topic
