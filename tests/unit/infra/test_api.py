"""The REST API: its URLs, its access log, its firewall, and what it shares with other stacks."""

import json
import re
from typing import Any

import pytest
from aws_cdk.assertions import Template

from tests.unit.infra.stacks import DOMAIN, ZONE, properties, synthesize

# No body is inspected, no header is required, and a presigned URL may be long.
ONLY_COUNTED_BY_WAF = [
    *("NoUserAgent_HEADER", "UserAgent_BadBots_HEADER", "SizeRestrictions_QUERYSTRING"),
    *("SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY"),
    "CrossSiteScripting_BODY",
]
PATHS = {
    "ApiUrl": "",
    "InsertMeteringRecordUrl": "insertMeteringRecord/{customerIdentifier}",
    "InsertMeteringRecordsUrl": "insertMeteringRecords",
    "ListMeteringRecordsUrl": "listMeteringRecords/{customerIdentifier}",
}


def outputs(template: Template) -> dict[str, Any]:
    return {name: output["Value"] for name, output in template.find_outputs("*").items()}


def test_outputs_are_the_urls_of_the_api_and_its_routes() -> None:
    ends = {name: "".join(map(str, url["Fn::Join"][1])) for name, url in outputs(synthesize()).items()}

    assert set(ends) == set(PATHS)
    for name, path in PATHS.items():
        assert ends[name].endswith(f"/{path}")
    assert sorted(found["PathPart"] for found in properties(synthesize(), "ApiGateway::Resource")) == [
        *("insertMeteringRecord", "insertMeteringRecords", "listMeteringRecords"),
        *("{customerIdentifier+}", "{customerIdentifier+}"),
    ]


@pytest.mark.parametrize(
    ("change", "base", "others"),
    [
        ({}, "", {"DnsTarget"}),
        ({"base_path": "billing"}, "billing/", {"DnsTarget"}),
        ({"base_path": "billing/v1"} | ZONE, "billing/v1/", set()),
        ({"keep_default_endpoint": True} | ZONE, "", {"DefaultApiUrl"}),
    ],
)
def test_urls_are_of_the_domain_where_there_is_one(
    change: dict[str, object], base: str, others: set[str]
) -> None:
    """Without a hosted zone, an output names the target of the DNS record."""
    found = outputs(synthesize(domain=DOMAIN | change))

    urls = {name: f"https://metering.example.com/{base}{path}" for name, path in PATHS.items()}
    assert {name: found.pop(name) for name in PATHS} == urls
    assert set(found) == others
    if "DnsTarget" in found:
        assert found["DnsTarget"]["Fn::GetAtt"][1] == "RegionalDomainName"


def test_a_key_is_handed_out_by_its_id() -> None:
    assert set(outputs(synthesize(authorization="API_KEY"))) == {*PATHS, "ApiKeyId"}


def test_the_access_log_has_no_headers() -> None:
    (stage,) = properties(synthesize(), "ApiGateway::Stage")

    fields = json.loads(stage["AccessLogSetting"]["Format"])
    assert fields["extendedRequestId"] == "$context.extendedRequestId"
    assert fields.keys() >= {"requestId", "status", "path", "responseLatency", "errorMessage", "userArn"}
    assert not re.search("header|authoriz", str(fields), re.IGNORECASE)


@pytest.mark.parametrize("region", ["us-east-1", "ap-southeast-1"])
def test_the_accounts_logging_role_is_named_by_region(region: str) -> None:
    roles = properties(synthesize(aws_region_name=region), "IAM::Role")

    (name,) = (role["RoleName"] for role in roles if "RoleName" in role)
    assert name.endswith(f"-{region}")
    assert len(name) <= 64


def test_two_products_of_one_account_share_no_name_and_no_metric() -> None:
    named = {"FunctionName", "RoleName", "TableName", "Name", "AlarmName", "DashboardName", "TopicName"}

    def names(stack_name: str, is_first: bool) -> set[str]:
        template = synthesize(stack_name=stack_name, set_api_gateway_account_role=is_first, waf=True)
        return {
            properties(template, "WAFv2::WebACL")[0]["VisibilityConfig"]["MetricName"],
            *re.findall(r'"Name": "service", "Value": "([^"]+)"', json.dumps(template.to_json())),
            *(
                value
                for resource in template.to_json()["Resources"].values()
                for name, value in resource.get("Properties", {}).items()
                if name in named and isinstance(value, str)
            ),
        }

    one, another = names("product-a", True), names("product-b", False)
    assert {"product-a", "product-a-idempotency"} <= one
    assert not one & another


def web_acl(**params: object) -> dict[str, Any]:
    (found,) = properties(synthesize(waf=True, **params), "WAFv2::WebACL")
    return found


def test_managed_rules_protect_the_stage_and_let_programs_through() -> None:
    """A rule that a legitimate program could trip only counts: the usage it refuses is not billed."""
    assert len(properties(synthesize(waf=True), "WAFv2::WebACLAssociation")) == 1
    _, *groups = web_acl()["Rules"]

    # None of the groups is overridden to count as a whole.
    assert {group["Name"]: group["OverrideAction"] for group in groups} == {
        f"AWSManagedRules{name}": {"None": {}}
        for name in ("AmazonIpReputationList", "KnownBadInputsRuleSet", "CommonRuleSet")
    }
    common = groups[-1]["Statement"]["ManagedRuleGroupStatement"]
    overrides = {rule["Name"]: rule["ActionToUse"] for rule in common["RuleActionOverrides"]}
    assert overrides == {name: {"Count": {}} for name in ONLY_COUNTED_BY_WAF}


def test_one_address_may_use_all_of_the_throttle_before_it_has_to_wait() -> None:
    found = web_acl(throttle={"rate_per_second": 7, "burst": 11})
    rule = found["Rules"][0]
    limit = 7 * 60 + 11

    rate = {"AggregateKeyType": "IP", "EvaluationWindowSec": 60, "Limit": limit}
    assert rule["Statement"] == {"RateBasedStatement": rate}
    response = rule["Action"]["Block"]["CustomResponse"]
    assert response["ResponseCode"] == 429
    assert response["ResponseHeaders"] == [{"Name": "Retry-After", "Value": "60"}]
    body = found["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert body["ContentType"] == "APPLICATION_JSON"
    document = json.loads(body["Content"])
    assert list(document) == ["type", "title", "status", "detail"]
    assert document["type"] == "urn:marketplace-metering:problem:too-many-requests"
    assert (document["status"], str(limit) in document["detail"]) == (429, True)
