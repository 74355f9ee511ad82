"""The REST API: who may call it, how often, what is logged, and what it answers by itself."""

import json
import re
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from metering_handlers.contract.problem_types import SAFE_REPEAT
from tests.unit.infra.stacks import DOMAIN, ZONE, properties, synthesize

ROUTES = {
    "ApiUrl": "",
    "InsertMeteringRecordUrl": "insertMeteringRecord/{customerIdentifier}",
    "InsertMeteringRecordsUrl": "insertMeteringRecords",
    "ListMeteringRecordsUrl": "listMeteringRecords/{customerIdentifier}",
}


def api(template: Template) -> dict[str, Any]:
    (found,) = properties(template, "ApiGateway::RestApi")
    return found


def outputs(template: Template) -> dict[str, Any]:
    return {name: output["Value"] for name, output in template.find_outputs("*").items()}


def gateway_responses(template: Template) -> dict[str, dict[str, Any]]:
    return {found["ResponseType"]: found for found in properties(template, "ApiGateway::GatewayResponse")}


def test_by_default_callers_sign_without_key_policy_or_firewall(template: Template) -> None:
    template.all_resources_properties("AWS::ApiGateway::Method", {"AuthorizationType": "AWS_IAM"})
    assert "Policy" not in api(template)
    for kind in ("AWS::ApiGateway::ApiKey", "AWS::ApiGateway::UsagePlan", "AWS::WAFv2::WebACL"):
        template.resource_count_is(kind, 0)


def test_the_api_is_regional_with_modern_tls_and_three_routes(template: Template) -> None:
    found = api(template)

    assert found["EndpointConfiguration"]["Types"] == ["REGIONAL"]
    assert found["SecurityPolicy"] == "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
    assert found["EndpointAccessMode"] == "STRICT"
    assert found["MinimumCompressionSize"] == 1024
    assert len(properties(template, "ApiGateway::Method")) == 3
    assert sorted(resource["PathPart"] for resource in properties(template, "ApiGateway::Resource")) == [
        *("insertMeteringRecord", "insertMeteringRecords", "listMeteringRecords"),
        *("{customerIdentifier+}", "{customerIdentifier+}"),
    ]


def test_a_wrong_path_is_told_before_the_signature(template: Template) -> None:
    """API Gateway answers an unknown path as it answers a request without a signature."""
    template_of = gateway_responses(template)["MISSING_AUTHENTICATION_TOKEN"]["ResponseTemplates"]

    assert "Check path and method" in template_of["application/json"]


@pytest.mark.parametrize("region", ["us-gov-west-1", "eusc-de-east-1"])
def test_partitions_without_enhanced_policies_get_tls_1_2(region: str) -> None:
    certificate = DOMAIN["certificate_arn"].replace("us-east-1", region)
    template = synthesize(aws_region_name=region, domain=DOMAIN | {"certificate_arn": certificate})

    (domain,) = properties(template, "ApiGateway::DomainName")
    for resource in (api(template), domain):
        assert resource["SecurityPolicy"] == "TLS_1_2"
        assert "EndpointAccessMode" not in resource


def test_outputs_are_the_urls_of_the_api_and_its_routes(template: Template) -> None:
    ends = {name: "".join(map(str, url["Fn::Join"][1])) for name, url in outputs(template).items()}

    assert set(ends) == set(ROUTES)
    for name, path in ROUTES.items():
        assert ends[name].endswith(f"/{path}")


def test_an_api_key_has_rate_burst_and_quota() -> None:
    template = synthesize(
        authorization="API_KEY", usage_plan={"rate_per_second": 3, "burst": 5, "requests_per_day": 7}
    )

    template.all_resources_properties(
        "AWS::ApiGateway::Method", {"AuthorizationType": "NONE", "ApiKeyRequired": True}
    )
    (plan,) = properties(template, "ApiGateway::UsagePlan")
    assert plan["Throttle"] == {"RateLimit": 3, "BurstLimit": 5}
    assert plan["Quota"] == {"Limit": 7, "Period": "DAY"}
    assert plan["ApiStages"]
    template.resource_count_is("AWS::ApiGateway::UsagePlanKey", 1)
    template.has_resource_properties("AWS::ApiGateway::ApiKey", {"Enabled": True})
    assert "ApiKeyId" in outputs(template)


@pytest.mark.parametrize(
    ("authorization", "effects"),
    # With IAM, an Allow would let the identities of all accounts in.
    [("IAM", ["Deny"]), ("API_KEY", ["Allow", "Deny"]), ("NONE", ["Allow", "Deny"])],
)
def test_only_the_allowed_networks_may_call(authorization: str, effects: list[str]) -> None:
    template = synthesize(authorization=authorization, allowed_cidrs=["203.0.113.0/24"])

    statements = {item["Effect"]: item["Condition"] for item in api(template)["Policy"]["Statement"]}
    networks = {"aws:SourceIp": ["203.0.113.0/24"]}
    conditions = {"Allow": {"IpAddress": networks}, "Deny": {"NotIpAddress": networks}}
    assert statements == {effect: conditions[effect] for effect in effects}


def test_the_stage_is_throttled_and_logs_no_payloads() -> None:
    """Metrics of each method, and traces, would cost money."""
    (stage,) = properties(synthesize(throttle={"rate_per_second": 11, "burst": 13}), "ApiGateway::Stage")

    assert stage["StageName"] == "prod"
    assert stage["TracingEnabled"] is False
    assert stage["MethodSettings"] == [
        {
            "HttpMethod": "*",
            "ResourcePath": "/*",
            "ThrottlingRateLimit": 11,
            "ThrottlingBurstLimit": 13,
            "MetricsEnabled": False,
            "LoggingLevel": "ERROR",
            "DataTraceEnabled": False,
        }
    ]


def test_the_access_log_has_no_headers(template: Template) -> None:
    (stage,) = properties(template, "ApiGateway::Stage")

    fields = json.loads(stage["AccessLogSetting"]["Format"])
    assert fields["extendedRequestId"] == "$context.extendedRequestId"
    assert fields.keys() >= {"requestId", "status", "path", "responseLatency", "errorMessage", "userArn"}
    assert not re.search("header|authoriz", str(fields), re.IGNORECASE)


def test_a_path_must_name_its_customer(template: Template) -> None:
    parameter = {"RequestParameters": {"method.request.path.customerIdentifier": True}}
    template.resource_properties_count_is(
        "AWS::ApiGateway::Method", parameter | {"RequestValidatorId": Match.any_value()}, 2
    )
    template.has_resource_properties("AWS::ApiGateway::RequestValidator", {"ValidateRequestParameters": True})


def test_every_gateway_response_is_problem_details(template: Template) -> None:
    """What has no response type of its own keeps its status: DEFAULT_4XX stands for 403 and 413."""
    responses = gateway_responses(template)

    assert len(responses) == 18
    for name, response in responses.items():
        document = json.loads(response["ResponseTemplates"]["application/json"])
        status = [] if name == "DEFAULT_4XX" else ["status"]
        assert list(document) == ["type", "title", *status, "detail", "instance"]
        assert str(document.get("status")) == str(response.get("StatusCode"))
        assert document["instance"] == "$context.extendedRequestId"
        parameters = response["ResponseParameters"]
        assert parameters["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
    assert "413: the body is larger than 6 MB; split the request" in str(responses["DEFAULT_4XX"])


def test_a_5xx_says_how_to_repeat_safely_and_has_no_retry_after(template: Template) -> None:
    """A client obeys Retry-After by repeating what it sent: without a key or ids, that is stored twice."""
    responses = gateway_responses(template)

    failures = [response for response in responses.values() if response.get("StatusCode", "4") >= "5"]
    assert {response["StatusCode"] for response in failures} == {"500", "502", "504"}
    for response in failures:
        assert SAFE_REPEAT in json.loads(response["ResponseTemplates"]["application/json"])["detail"]
    assert [name for name, response in responses.items() if "Retry-After" in str(response)] == ["THROTTLED"]


@pytest.mark.parametrize(
    ("authorization", "advice"),
    [("IAM", "Sign the request"), ("API_KEY", "x-api-key"), ("NONE", "certain networks")],
)
def test_a_403_says_what_this_api_asks_for(authorization: str, advice: str) -> None:
    template = synthesize(authorization=authorization, allowed_cidrs=["203.0.113.0/24"])

    for name in ("ACCESS_DENIED", "MISSING_AUTHENTICATION_TOKEN"):
        assert advice in str(gateway_responses(template)[name]["ResponseTemplates"])


def test_the_accounts_logging_role_is_kept_and_named_by_region() -> None:
    names = set()
    for region in ("us-east-1", "ap-southeast-1"):
        template = synthesize(aws_region_name=region)
        template.has_resource("AWS::ApiGateway::Account", {"DeletionPolicy": "Retain"})
        (role,) = (
            role
            for role in template.find_resources("AWS::IAM::Role").values()
            if "AmazonAPIGatewayPushToCloudWatchLogs" in str(role)
        )
        assert role["DeletionPolicy"] == "Retain"
        names.add(role["Properties"]["RoleName"])
        assert role["Properties"]["RoleName"].endswith(f"-{region}")
    assert len(names) == 2
    assert max(map(len, names)) <= 64


def test_another_stacks_logging_role_is_left_alone() -> None:
    template = synthesize(set_api_gateway_account_role=False)

    template.resource_count_is("AWS::ApiGateway::Account", 0)
    assert "AmazonAPIGatewayPushToCloudWatchLogs" not in str(template.find_resources("AWS::IAM::Role"))
    # The stage still asks for its logs.
    template.has_resource_properties("AWS::ApiGateway::Stage", {"AccessLogSetting": Match.any_value()})


def test_two_products_of_one_account_share_no_name_and_no_metric() -> None:
    named = {"FunctionName", "RoleName", "TableName", "Name", "AlarmName", "DashboardName", "TopicName"}

    def names(template: Template) -> set[str]:
        resources = template.to_json()["Resources"].values()
        (firewall,) = properties(template, "WAFv2::WebACL")
        return {
            firewall["VisibilityConfig"]["MetricName"],
            *re.findall(r'"Name": "service", "Value": "([^"]+)"', json.dumps(template.to_json())),
            *(
                value
                for resource in resources
                for name, value in resource.get("Properties", {}).items()
                if name in named and isinstance(value, str)
            ),
        }

    one, another = (
        names(synthesize(stack_name=name, set_api_gateway_account_role=name == "product-a", waf=True))
        for name in ("product-a", "product-b")
    )

    assert {"product-a", "product-a-idempotency"} <= one
    assert not one & another


@pytest.mark.parametrize(
    ("base_path", "mapping", "base"),
    [
        (None, {}, "https://metering.example.com/"),
        ("billing", {"BasePath": "billing"}, "https://metering.example.com/billing/"),
    ],
)
def test_a_domain_has_a_v1_mapping_and_the_tls_policy_of_the_api(
    base_path: str | None, mapping: dict[str, str], base: str
) -> None:
    template = synthesize(domain=DOMAIN | {"base_path": base_path})

    (domain,) = properties(template, "ApiGateway::DomainName")
    for name in ("SecurityPolicy", "EndpointAccessMode"):
        assert domain[name] == api(template)[name]
    assert domain["DomainName"] == DOMAIN["name"]
    assert domain["RegionalCertificateArn"] == DOMAIN["certificate_arn"]
    assert domain["EndpointConfiguration"] == {"Types": ["REGIONAL"]}
    (found,) = properties(template, "ApiGateway::BasePathMapping")
    assert {name: found[name] for name in ("BasePath",) if name in found} == mapping
    assert {"DomainName", "RestApiId", "Stage"} <= set(found)
    assert not properties(template, "ApiGatewayV2::ApiMapping")
    assert urls(template) == {name: f"{base}{path}" for name, path in ROUTES.items()}


def test_a_base_path_of_several_segments_has_a_v2_mapping() -> None:
    """API Gateway v2, which maps several segments, knows no policy above TLS 1.2."""
    template = synthesize(domain=DOMAIN | {"base_path": "billing/v1"})

    (domain,) = properties(template, "ApiGateway::DomainName")
    assert domain["SecurityPolicy"] == "TLS_1_2"
    assert "EndpointAccessMode" not in domain
    (mapping,) = properties(template, "ApiGatewayV2::ApiMapping")
    assert mapping["ApiMappingKey"] == "billing/v1"
    assert not properties(template, "ApiGateway::BasePathMapping")
    base = "https://metering.example.com/billing/v1/"
    assert urls(template) == {name: f"{base}{path}" for name, path in ROUTES.items()}


def urls(template: Template) -> dict[str, Any]:
    return {name: value for name, value in outputs(template).items() if name in ROUTES}


@pytest.mark.parametrize(
    ("params", "is_disabled"),
    [
        ({}, False),
        ({"domain": DOMAIN}, True),
        ({"domain": DOMAIN | {"keep_default_endpoint": True}}, False),
    ],
)
def test_a_domain_closes_the_default_endpoint(params: dict[str, object], is_disabled: bool) -> None:
    template = synthesize(**params)

    assert api(template).get("DisableExecuteApiEndpoint", False) is is_disabled
    assert ("DefaultApiUrl" in outputs(template)) is (bool(params) and not is_disabled)


@pytest.mark.parametrize(
    ("networks", "kinds", "endpoint"),
    [
        (["203.0.113.0/24"], ["A"], {"Types": ["REGIONAL"]}),
        (
            ["203.0.113.0/24", "2001:db8::/32"],
            ["A", "AAAA"],
            {"Types": ["REGIONAL"], "IpAddressType": "dualstack"},
        ),
    ],
)
def test_an_ipv6_network_makes_api_domain_and_dns_dual_stack(
    networks: list[str], kinds: list[str], endpoint: dict[str, object]
) -> None:
    template = synthesize(domain=DOMAIN | ZONE, allowed_cidrs=networks)

    (domain,) = properties(template, "ApiGateway::DomainName")
    assert domain["EndpointConfiguration"] == api(template)["EndpointConfiguration"] == endpoint
    records = properties(template, "Route53::RecordSet")
    assert sorted(record["Type"] for record in records) == kinds
    for record in records:
        assert record["Name"] == "metering.example.com."
        assert record["HostedZoneId"] == ZONE["hosted_zone_id"]
        assert "AliasTarget" in record


def test_without_a_zone_an_output_names_the_dns_target() -> None:
    with_zone, without = synthesize(domain=DOMAIN | ZONE), synthesize(domain=DOMAIN)

    assert "DnsTarget" not in outputs(with_zone)
    assert not properties(without, "Route53::RecordSet")
    assert outputs(without)["DnsTarget"]["Fn::GetAtt"][1] == "RegionalDomainName"
