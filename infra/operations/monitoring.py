"""Alarms that notify an SNS topic, a dashboard, and saved queries."""

from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk import aws_cloudwatch_actions as actions
from aws_cdk import aws_iam as iam
from aws_cdk import aws_sns as sns
from aws_cdk import aws_sns_subscriptions as subscriptions
from constructs import Construct

from infra.api.metering_api import MeteringApi
from infra.config import Config
from infra.metering_function import MeteringFunction
from infra.ministack import is_local_cloud
from infra.operations.alarms import create_alarms
from infra.operations.dashboard import create_dashboard
from infra.operations.saved_queries import create_saved_queries


class Operations(Construct):
    """Alarms, dashboard and saved queries of the API."""

    def __init__(
        self, scope: Construct, config: Config, functions: Sequence[MeteringFunction], api: MeteringApi
    ) -> None:
        super().__init__(scope, "Operations")
        # Encrypted at rest by SNS. A customer managed key would cost more than the alarms, and e-mails show
        # the same metrics in clear text (docs/performance.md).
        topic = sns.Topic(self, "Alarms", enforce_ssl=True)
        topic.add_to_resource_policy(
            iam.PolicyStatement(
                principals=[iam.ServicePrincipal("cloudwatch.amazonaws.com")],
                actions=["sns:Publish"],
                resources=[topic.topic_arn],
                conditions={"StringEquals": {"aws:SourceAccount": Stack.of(self).account}},
            )
        )
        if config.alarm_email:
            topic.add_subscription(subscriptions.EmailSubscription(config.alarm_email))
        alarms = create_alarms(self, functions, api, config)
        for alarm in alarms:
            alarm.add_alarm_action(actions.SnsAction(topic))
            alarm.add_ok_action(actions.SnsAction(topic))
        create_dashboard(self, functions, api, alarms, config.metering_table_name)
        if not is_local_cloud(self.node):
            create_saved_queries(self, functions, api)
