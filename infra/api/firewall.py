"""AWS WAF in front of the API."""

from __future__ import annotations

from aws_cdk import aws_wafv2 as wafv2
from constructs import Construct

_REQUESTS_PER_ADDRESS = 2_000
"""Requests from one address in five minutes, as AWS WAF counts them."""


class Firewall(Construct):
    """Managed rules, and a limit for each address.

    Parameters
    ----------
    scope : Construct
        The construct it belongs to.
    construct_id : str
        Its id there.
    stage_arn : str
        The API's stage.
    """

    def __init__(self, scope: Construct, construct_id: str, *, stage_arn: str) -> None:
        super().__init__(scope, construct_id)
        web_acl = wafv2.CfnWebACL(
            self,
            "WebAcl",
            scope="REGIONAL",
            default_action=wafv2.CfnWebACL.DefaultActionProperty(allow={}),
            visibility_config=_visibility("WebAcl"),
            rules=[
                wafv2.CfnWebACL.RuleProperty(
                    name="RequestsPerAddress",
                    priority=0,
                    action=wafv2.CfnWebACL.RuleActionProperty(block={}),
                    statement=wafv2.CfnWebACL.StatementProperty(
                        rate_based_statement=wafv2.CfnWebACL.RateBasedStatementProperty(
                            aggregate_key_type="IP", limit=_REQUESTS_PER_ADDRESS
                        )
                    ),
                    visibility_config=_visibility("RequestsPerAddress"),
                ),
                _managed_rules("AWSManagedRulesAmazonIpReputationList", priority=1),
                _managed_rules("AWSManagedRulesKnownBadInputsRuleSet", priority=2),
                # A bulk request is larger than the 8 KB that this rule allows a body.
                _managed_rules(
                    "AWSManagedRulesCommonRuleSet", priority=3, only_count="SizeRestrictions_BODY"
                ),
            ],
        )
        wafv2.CfnWebACLAssociation(self, "Association", resource_arn=stage_arn, web_acl_arn=web_acl.attr_arn)


def _managed_rules(
    name: str, *, priority: int, only_count: str | None = None
) -> wafv2.CfnWebACL.RuleProperty:
    overrides = only_count and [
        wafv2.CfnWebACL.RuleActionOverrideProperty(
            name=only_count, action_to_use=wafv2.CfnWebACL.RuleActionProperty(count={})
        )
    ]
    return wafv2.CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=wafv2.CfnWebACL.OverrideActionProperty(none={}),
        statement=wafv2.CfnWebACL.StatementProperty(
            managed_rule_group_statement=wafv2.CfnWebACL.ManagedRuleGroupStatementProperty(
                vendor_name="AWS", name=name, rule_action_overrides=overrides or None
            )
        ),
        visibility_config=_visibility(name),
    )


def _visibility(name: str) -> wafv2.CfnWebACL.VisibilityConfigProperty:
    return wafv2.CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
