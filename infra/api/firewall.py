"""AWS WAF in front of the API."""

import json
from collections.abc import Sequence

from aws_cdk import Stack
from aws_cdk.aws_wafv2 import CfnWebACL, CfnWebACLAssociation
from constructs import Construct

from infra.api.gateway_responses import problem_document
from infra.config import Throttle
from infra.ministack import is_local_cloud
from metering_handlers.contract.problem_types import ProblemType

_WINDOW_SECONDS = 60
"""Period in which AWS WAF counts requests of an address; the shortest one ("Rate-based rule settings")."""

_BLOCK = "block"
_COUNT = "count"

# Every rule of AWSManagedRulesCommonRuleSet (AWS WAF Developer Guide, "Baseline rule groups"). Callers are
# programs: a rule that a legitimate one could trip only counts, because the usage it refuses is not billed.
COMMON_RULES: dict[str, tuple[str, str]] = {
    "NoUserAgent_HEADER": (_COUNT, "HTTP does not require the header, and some libraries send none."),
    "UserAgent_BadBots_HEADER": (_COUNT, "The list is not published; a library's default name may be on it."),
    "SizeRestrictions_QUERYSTRING": (_COUNT, "A presigned URL with a session token is longer than 2 KB."),
    "SizeRestrictions_Cookie_HEADER": (_BLOCK, "The API has no cookies."),
    "SizeRestrictions_BODY": (_COUNT, "A bulk request is larger than 8 KB."),
    "SizeRestrictions_URIPATH": (_BLOCK, "The longest path has fewer than 1,024 bytes, percent-encoded too."),
    "EC2MetaDataSSRF_BODY": (_COUNT, "A dimension's name may be any text."),
    "EC2MetaDataSSRF_COOKIE": (_BLOCK, "The API has no cookies."),
    "EC2MetaDataSSRF_URIPATH": (_BLOCK, "An identifier is letters and digits, or a License ARN."),
    "EC2MetaDataSSRF_QUERYARGUMENTS": (_BLOCK, "Arguments are times, words, numbers, base64 and signatures."),
    "GenericLFI_QUERYARGUMENTS": (_BLOCK, "No argument has '../' in it."),
    "GenericLFI_URIPATH": (_BLOCK, "No identifier has '../' in it."),
    "GenericLFI_BODY": (_COUNT, "A dimension's name may be any text."),
    "RestrictedExtensions_URIPATH": (_BLOCK, "No identifier ends like a system file."),
    "RestrictedExtensions_QUERYARGUMENTS": (_BLOCK, "No argument ends like a system file."),
    "GenericRFI_QUERYARGUMENTS": (_BLOCK, "No argument is a URL."),
    "GenericRFI_BODY": (_COUNT, "A dimension's name may be any text."),
    "GenericRFI_URIPATH": (_BLOCK, "No identifier is a URL."),
    "CrossSiteScripting_COOKIE": (_BLOCK, "The API has no cookies."),
    "CrossSiteScripting_QUERYARGUMENTS": (_BLOCK, "No argument has markup in it."),
    "CrossSiteScripting_BODY": (_COUNT, "A dimension's name may look like markup."),
    "CrossSiteScripting_URIPATH": (_BLOCK, "No identifier has markup in it."),
}
"""Action of each rule, and the reason."""


class Firewall(Construct):
    """Managed rules, and a limit for each address.

    The limit is the rate of ``throttle``, so that it only affects an address that would use up the API's
    capacity alone. AWS WAF cannot set the content type ``application/problem+json`` and knows no request id,
    so its answer is ``application/json`` without ``instance``.
    """

    def __init__(self, scope: Construct, stage_arn: str, throttle: Throttle) -> None:
        super().__init__(scope, "Firewall")
        limit = throttle.rate_per_second * _WINDOW_SECONDS + throttle.burst
        problem = problem_document(
            429,
            ProblemType.TOO_MANY_REQUESTS,
            f"This address sent more than {limit} requests in {_WINDOW_SECONDS} seconds. "
            "Slow down, and send the request again.",
        )
        web_acl = CfnWebACL(
            self,
            "WebAcl",
            scope="REGIONAL",
            default_action=CfnWebACL.DefaultActionProperty(allow={}),
            # The name is a dimension of the metrics of all rules: deployments must not share it.
            visibility_config=_visibility(Stack.of(self).stack_name),
            custom_response_bodies={
                ProblemType.TOO_MANY_REQUESTS: CfnWebACL.CustomResponseBodyProperty(
                    content_type="APPLICATION_JSON", content=json.dumps(problem)
                )
            },
            rules=[
                _requests_per_address(limit),
                _managed_rules("AWSManagedRulesAmazonIpReputationList", priority=1),
                _managed_rules("AWSManagedRulesKnownBadInputsRuleSet", priority=2),
                _managed_rules(
                    "AWSManagedRulesCommonRuleSet",
                    priority=3,
                    only_counted=[name for name, (action, _) in COMMON_RULES.items() if action == _COUNT],
                ),
            ],
        )
        if not is_local_cloud(self.node):
            CfnWebACLAssociation(self, "Association", resource_arn=stage_arn, web_acl_arn=web_acl.attr_arn)


def _requests_per_address(limit: int) -> CfnWebACL.RuleProperty:
    """Answer a 429 with ``Retry-After``: clients do not retry WAF's default 403, and usage would be lost."""
    # After that time, the excess requests are no longer in the window.
    retry_after = CfnWebACL.CustomHTTPHeaderProperty(name="Retry-After", value=str(_WINDOW_SECONDS))
    response = CfnWebACL.CustomResponseProperty(
        response_code=429,
        custom_response_body_key=ProblemType.TOO_MANY_REQUESTS,
        response_headers=[retry_after],
    )
    rate = CfnWebACL.RateBasedStatementProperty(
        aggregate_key_type="IP", limit=limit, evaluation_window_sec=_WINDOW_SECONDS
    )
    return CfnWebACL.RuleProperty(
        name="RequestsPerAddress",
        priority=0,
        action=CfnWebACL.RuleActionProperty(block=CfnWebACL.BlockActionProperty(custom_response=response)),
        statement=CfnWebACL.StatementProperty(rate_based_statement=rate),
        visibility_config=_visibility("RequestsPerAddress"),
    )


def _managed_rules(name: str, *, priority: int, only_counted: Sequence[str] = ()) -> CfnWebACL.RuleProperty:
    count = CfnWebACL.RuleActionProperty(count={})
    overrides = [
        CfnWebACL.RuleActionOverrideProperty(name=rule, action_to_use=count) for rule in only_counted
    ]
    group = CfnWebACL.ManagedRuleGroupStatementProperty(
        vendor_name="AWS", name=name, rule_action_overrides=overrides or None
    )
    return CfnWebACL.RuleProperty(
        name=name,
        priority=priority,
        override_action=CfnWebACL.OverrideActionProperty(none={}),
        statement=CfnWebACL.StatementProperty(managed_rule_group_statement=group),
        visibility_config=_visibility(name),
    )


def _visibility(name: str) -> CfnWebACL.VisibilityConfigProperty:
    return CfnWebACL.VisibilityConfigProperty(
        cloud_watch_metrics_enabled=True, metric_name=name, sampled_requests_enabled=False
    )
