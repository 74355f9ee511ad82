"""AWS WAF in front of the API."""

import json
from typing import Any

from tests.unit.infra.stacks import properties, synthesize


def web_acl(**params: object) -> dict[str, Any]:
    (found,) = properties(synthesize(waf=True, **params), "WAFv2::WebACL")
    return found


def test_managed_rules_protect_the_stage_and_let_programs_through() -> None:
    """A rule that a legitimate program could trip only counts: the usage it refuses is not billed."""
    synthesize(waf=True).resource_count_is("AWS::WAFv2::WebACLAssociation", 1)
    rules = {rule["Name"]: rule for rule in web_acl()["Rules"]}

    # None of the groups is overridden to count as a whole.
    assert {name: rule.get("OverrideAction") for name, rule in rules.items()} == {
        "RequestsPerAddress": None,
        "AWSManagedRulesAmazonIpReputationList": {"None": {}},
        "AWSManagedRulesKnownBadInputsRuleSet": {"None": {}},
        "AWSManagedRulesCommonRuleSet": {"None": {}},
    }
    common = rules["AWSManagedRulesCommonRuleSet"]["Statement"]["ManagedRuleGroupStatement"]
    overrides = {rule["Name"]: rule["ActionToUse"] for rule in common["RuleActionOverrides"]}
    # No body is inspected, no header is required, and a presigned URL may be long.
    counted = [
        *("NoUserAgent_HEADER", "UserAgent_BadBots_HEADER", "SizeRestrictions_QUERYSTRING"),
        *("SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY"),
        "CrossSiteScripting_BODY",
    ]
    assert overrides == {name: {"Count": {}} for name in counted}


def test_one_address_may_use_all_of_the_throttle_before_it_has_to_wait() -> None:
    found = web_acl(throttle={"rate_per_second": 7, "burst": 11})

    (rule,) = (rule for rule in found["Rules"] if rule["Name"] == "RequestsPerAddress")
    limit = 7 * 60 + 11
    assert rule["Statement"]["RateBasedStatement"] == {
        "AggregateKeyType": "IP",
        "EvaluationWindowSec": 60,
        "Limit": limit,
    }
    response = rule["Action"]["Block"]["CustomResponse"]
    assert response["ResponseCode"] == 429
    assert response["ResponseHeaders"] == [{"Name": "Retry-After", "Value": "60"}]
    body = found["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert body["ContentType"] == "APPLICATION_JSON"
    document = json.loads(body["Content"])
    assert list(document) == ["type", "title", "status", "detail"]
    assert document["type"] == "urn:marketplace-metering:problem:too-many-requests"
    assert (document["status"], str(limit) in document["detail"]) == (429, True)
