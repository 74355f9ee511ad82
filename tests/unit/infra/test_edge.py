"""Each parameter's effect on the template: who may call the API, how often, and what is logged."""

import json
import re
from collections.abc import Callable
from typing import Any

import pytest
from aws_cdk.assertions import Match, Template

from infra.api.firewall import COMMON_RULES
from infra.config import Config
from metering_handlers.contract.problem_types import SAFE_REPEAT
from tests.unit.infra.conftest import PARAMS

Synthesize = Callable[..., Template]


def resource_policy(template: Template) -> list[dict[str, Any]]:
    (api,) = template.find_resources("AWS::ApiGateway::RestApi").values()
    statements: list[dict[str, Any]] = api["Properties"]["Policy"]["Statement"]
    return statements


def gateway_responses(template: Template) -> dict[str, dict[str, Any]]:
    found = template.find_resources("AWS::ApiGateway::GatewayResponse").values()
    return {response["Properties"]["ResponseType"]: response["Properties"] for response in found}


def test_by_default_callers_sign_and_there_is_no_key_no_policy_and_no_firewall(template: Template) -> None:
    template.all_resources_properties("AWS::ApiGateway::Method", {"AuthorizationType": "AWS_IAM"})
    template.has_resource_properties("AWS::ApiGateway::RestApi", {"Policy": Match.absent()})
    for kind in ("AWS::ApiGateway::ApiKey", "AWS::ApiGateway::UsagePlan", "AWS::WAFv2::WebACL"):
        template.resource_count_is(kind, 0)


def test_api_key_asks_for_a_key_with_rate_burst_and_quota(synthesize: Synthesize) -> None:
    template = synthesize(
        authorization="API_KEY", usage_plan={"rate_per_second": 3, "burst": 5, "requests_per_day": 7}
    )

    template.all_resources_properties(
        "AWS::ApiGateway::Method", {"AuthorizationType": "NONE", "ApiKeyRequired": True}
    )
    template.has_resource_properties(
        "AWS::ApiGateway::UsagePlan",
        {
            "Throttle": {"RateLimit": 3, "BurstLimit": 5},
            "Quota": {"Limit": 7, "Period": "DAY"},
            "ApiStages": [Match.any_value()],
        },
    )
    template.resource_count_is("AWS::ApiGateway::UsagePlanKey", 1)
    template.has_resource_properties("AWS::ApiGateway::ApiKey", {"Enabled": True})
    assert "ApiKeyId" in template.find_outputs("*")


def test_networks_bind_signed_callers_without_letting_other_accounts_in(synthesize: Synthesize) -> None:
    (deny,) = resource_policy(synthesize(allowed_cidrs=["203.0.113.0/24"]))

    assert deny["Effect"] == "Deny"
    assert deny["Condition"] == {"NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24"]}}


@pytest.mark.parametrize("authorization", ["NONE", "API_KEY"])
def test_networks_let_unsigned_callers_in_from_there_only(synthesize: Synthesize, authorization: str) -> None:
    allow, deny = resource_policy(synthesize(authorization=authorization, allowed_cidrs=["203.0.113.0/24"]))

    assert (allow["Effect"], allow["Condition"]) == (
        "Allow",
        {"IpAddress": {"aws:SourceIp": ["203.0.113.0/24"]}},
    )
    assert (deny["Effect"], deny["Condition"]) == (
        "Deny",
        {"NotIpAddress": {"aws:SourceIp": ["203.0.113.0/24"]}},
    )


def test_the_stage_is_throttled_and_logged_without_payloads_or_what_costs_by_the_metric_and_trace(
    synthesize: Synthesize,
) -> None:
    template = synthesize(throttle={"rate_per_second": 11, "burst": 13})

    template.has_resource_properties(
        "AWS::ApiGateway::Stage",
        {
            "TracingEnabled": False,
            "MethodSettings": [
                {
                    "HttpMethod": "*",
                    "ResourcePath": "/*",
                    "ThrottlingRateLimit": 11,
                    "ThrottlingBurstLimit": 13,
                    "MetricsEnabled": False,
                    "LoggingLevel": "ERROR",
                    "DataTraceEnabled": False,
                }
            ],
        },
    )


def test_the_access_log_is_json_with_latencies_and_errors_and_no_headers(template: Template) -> None:
    (stage,) = template.find_resources("AWS::ApiGateway::Stage").values()

    fields = json.loads(stage["Properties"]["AccessLogSetting"]["Format"])
    assert fields["extendedRequestId"] == "$context.extendedRequestId"
    assert {"requestId", "status", "path", "responseLatency", "integrationLatency", "errorMessage"} <= set(
        fields
    )
    assert "header" not in str(fields).lower()
    assert "authoriz" not in str(fields).lower()


def test_old_tls_is_refused(template: Template) -> None:
    template.has_resource_properties(
        "AWS::ApiGateway::RestApi",
        {"SecurityPolicy": "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09", "EndpointAccessMode": "STRICT"},
    )


def test_a_path_must_name_its_customer(template: Template) -> None:
    template.resource_properties_count_is(
        "AWS::ApiGateway::Method",
        {
            "RequestParameters": {"method.request.path.customerIdentifier": True},
            "RequestValidatorId": Match.any_value(),
        },
        2,
    )
    template.has_resource_properties("AWS::ApiGateway::RequestValidator", {"ValidateRequestParameters": True})


def test_every_answer_of_api_gateways_own_is_problem_details(template: Template) -> None:
    responses = gateway_responses(template)

    assert len(responses) == 18
    for response in responses.values():
        document = json.loads(response["ResponseTemplates"]["application/json"])
        status = [] if response["ResponseType"] == "DEFAULT_4XX" else ["status"]
        assert list(document) == ["type", "title", *status, "detail", "instance"]
        assert str(document.get("status")) == str(response.get("StatusCode"))
        assert document["instance"] == "$context.extendedRequestId"
        parameters = response["ResponseParameters"]
        assert parameters["gatewayresponse.header.Content-Type"] == "'application/problem+json'"


def test_what_has_no_response_type_of_its_own_keeps_its_status_and_a_413_reads_as_one(
    template: Template,
) -> None:
    response = gateway_responses(template)["DEFAULT_4XX"]

    assert "StatusCode" not in response
    document = json.loads(response["ResponseTemplates"]["application/json"])
    assert "status" not in document
    assert "413: the body is larger than 6 MB; split the request" in document["detail"]


@pytest.mark.parametrize(
    ("response_type", "status"),
    [
        ("MISSING_AUTHENTICATION_TOKEN", "403"),
        ("INVALID_API_KEY", "403"),
        ("REQUEST_TOO_LARGE", "413"),
        ("UNSUPPORTED_MEDIA_TYPE", "415"),
        ("THROTTLED", "429"),
        ("QUOTA_EXCEEDED", "429"),
        ("DEFAULT_5XX", "500"),
        ("INTEGRATION_TIMEOUT", "504"),
    ],
)
def test_api_gateway_answers_with_this_status(template: Template, response_type: str, status: str) -> None:
    assert gateway_responses(template)[response_type]["StatusCode"] == status


def test_after_a_5xx_an_insert_is_repeated_safely_and_never_by_itself(template: Template) -> None:
    # A client obeys Retry-After by repeating what it sent: without a key or ids, that is stored twice.
    responses = gateway_responses(template)
    failures = [response for response in responses.values() if response.get("StatusCode", "4") >= "5"]

    assert {response["StatusCode"] for response in failures} == {"500", "502", "504"}
    for response in failures:
        assert SAFE_REPEAT in json.loads(response["ResponseTemplates"]["application/json"])["detail"]
    waiting = [name for name, response in responses.items() if "Retry-After" in str(response)]
    assert waiting == ["THROTTLED"]


@pytest.mark.parametrize(
    ("params", "advice"),
    [
        ({}, "Sign the request"),
        ({"authorization": "API_KEY"}, "x-api-key"),
        ({"authorization": "NONE", "allowed_cidrs": ["203.0.113.0/24"]}, "certain networks"),
    ],
)
def test_who_is_refused_is_told_what_this_api_asks_for(
    synthesize: Synthesize, params: dict[str, object], advice: str
) -> None:
    response = gateway_responses(synthesize(**params))["ACCESS_DENIED"]

    assert advice in response["ResponseTemplates"]["application/json"]


def test_log_level_retention_and_architecture_are_as_asked_for(synthesize: Synthesize) -> None:
    template = synthesize(log_level="WARNING", log_retention_days=400, lambda_architecture="x86_64")

    template.all_resources_properties("AWS::Logs::LogGroup", {"RetentionInDays": 400})
    template.all_resources_properties(
        "AWS::Lambda::Function",
        {
            "Architectures": ["x86_64"],
            "Environment": {"Variables": Match.object_like({"POWERTOOLS_LOG_LEVEL": "WARNING"})},
        },
    )


def test_a_sandbox_gets_the_metering_table_as_the_quickstart_makes_it_and_keeps_it(
    synthesize: Synthesize,
) -> None:
    template = synthesize(create_metering_table=True)

    template.has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": Match.object_like(
                {
                    "TableName": "AWSMarketplaceMeteringRecords",
                    "BillingMode": "PAY_PER_REQUEST",
                    "KeySchema": [
                        {"AttributeName": "customerIdentifier", "KeyType": "HASH"},
                        {"AttributeName": "create_timestamp", "KeyType": "RANGE"},
                    ],
                    "AttributeDefinitions": [
                        {"AttributeName": "customerIdentifier", "AttributeType": "S"},
                        {"AttributeName": "create_timestamp", "AttributeType": "N"},
                        {"AttributeName": "metering_pending", "AttributeType": "S"},
                    ],
                    "GlobalSecondaryIndexes": [
                        {
                            "IndexName": "PendingMeteringRecordsIndex",
                            "KeySchema": [{"AttributeName": "metering_pending", "KeyType": "HASH"}],
                            "Projection": {"ProjectionType": "ALL"},
                        }
                    ],
                }
            ),
        },
    )


def test_functions_use_the_metering_tables_key_through_dynamodb_only(synthesize: Synthesize) -> None:
    key_arn = "arn:aws:kms:us-east-1:123456789012:key/0c237476-b39f-44d9-9044-1d2b3f4e5a6b"
    template = synthesize(metering_table_kms_key_arn=key_arn)

    statements = [
        statement
        for policy in template.find_resources("AWS::IAM::Policy").values()
        for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        if "kms" in str(statement["Action"])
    ]
    assert sorted(str(statement["Action"]) for statement in statements) == [
        "['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey']",
        "['kms:Decrypt', 'kms:Encrypt', 'kms:GenerateDataKey']",
        "kms:Decrypt",
    ]
    for statement in statements:
        assert statement["Resource"] == key_arn
        assert statement["Condition"] == {
            "StringEquals": {"kms:ViaService": "dynamodb.us-east-1.amazonaws.com"}
        }


def test_waf_stands_before_the_stage_and_lets_bulk_requests_through(synthesize: Synthesize) -> None:
    template = synthesize(waf=True)

    template.resource_count_is("AWS::WAFv2::WebACLAssociation", 1)
    (web_acl,) = template.find_resources("AWS::WAFv2::WebACL").values()
    rules = {rule["Name"]: rule.get("OverrideAction") for rule in web_acl["Properties"]["Rules"]}
    # None of the groups is overridden to count as a whole.
    assert rules == {
        "RequestsPerAddress": None,
        "AWSManagedRulesAmazonIpReputationList": {"None": {}},
        "AWSManagedRulesKnownBadInputsRuleSet": {"None": {}},
        "AWSManagedRulesCommonRuleSet": {"None": {}},
    }


def test_a_common_rule_that_a_program_could_trip_only_counts(synthesize: Synthesize) -> None:
    (web_acl,) = synthesize(waf=True).find_resources("AWS::WAFv2::WebACL").values()
    (group,) = (
        rule["Statement"]["ManagedRuleGroupStatement"]
        for rule in web_acl["Properties"]["Rules"]
        if rule["Name"] == "AWSManagedRulesCommonRuleSet"
    )

    counted = {
        override["Name"]
        for override in group["RuleActionOverrides"]
        if override["ActionToUse"] == {"Count": {}}
    }
    assert len(counted) == len(group["RuleActionOverrides"])
    # No body is inspected, no header is required, and a presigned URL may be long.
    assert counted == {
        *("NoUserAgent_HEADER", "UserAgent_BadBots_HEADER", "SizeRestrictions_QUERYSTRING"),
        *("SizeRestrictions_BODY", "EC2MetaDataSSRF_BODY", "GenericLFI_BODY", "GenericRFI_BODY"),
        "CrossSiteScripting_BODY",
    }


def test_the_table_of_common_rules_has_every_documented_rule_with_a_reason() -> None:
    # AWS WAF Developer Guide, "Baseline rule groups", Core rule set.
    documented = {
        *("NoUserAgent_HEADER", "UserAgent_BadBots_HEADER"),
        *(f"SizeRestrictions_{part}" for part in ("QUERYSTRING", "Cookie_HEADER", "BODY", "URIPATH")),
        *(f"EC2MetaDataSSRF_{part}" for part in ("BODY", "COOKIE", "URIPATH", "QUERYARGUMENTS")),
        *(f"GenericLFI_{part}" for part in ("QUERYARGUMENTS", "URIPATH", "BODY")),
        *(f"RestrictedExtensions_{part}" for part in ("URIPATH", "QUERYARGUMENTS")),
        *(f"GenericRFI_{part}" for part in ("QUERYARGUMENTS", "BODY", "URIPATH")),
        *(f"CrossSiteScripting_{part}" for part in ("COOKIE", "QUERYARGUMENTS", "BODY", "URIPATH")),
    }

    assert set(COMMON_RULES) == documented
    assert {action for action, _ in COMMON_RULES.values()} == {"block", "count"}
    assert all(reason for _, reason in COMMON_RULES.values())


def test_the_firewalls_limit_lets_one_address_use_all_of_the_throttle_and_then_asks_it_to_wait(
    synthesize: Synthesize,
) -> None:
    template = synthesize(waf=True, throttle={"rate_per_second": 7, "burst": 11})

    (web_acl,) = template.find_resources("AWS::WAFv2::WebACL").values()
    (rule,) = (rule for rule in web_acl["Properties"]["Rules"] if rule["Name"] == "RequestsPerAddress")
    limit = 7 * 60 + 11
    assert rule["Statement"]["RateBasedStatement"] == {
        "AggregateKeyType": "IP",
        "EvaluationWindowSec": 60,
        "Limit": limit,
    }
    response = rule["Action"]["Block"]["CustomResponse"]
    assert response["ResponseCode"] == 429
    assert response["ResponseHeaders"] == [{"Name": "Retry-After", "Value": "60"}]
    body = web_acl["Properties"]["CustomResponseBodies"][response["CustomResponseBodyKey"]]
    assert body["ContentType"] == "APPLICATION_JSON"
    document = json.loads(body["Content"])
    assert list(document) == ["type", "title", "status", "detail"]
    assert document["type"] == "urn:marketplace-metering:problem:too-many-requests"
    assert document["status"] == 429
    assert str(limit) in document["detail"]


def test_the_idempotency_table_is_kept_under_a_name_that_the_next_deployment_finds(
    template: Template,
) -> None:
    # CloudFormation imports only what has a literal name and is retained ("Import AWS resources into a
    # CloudFormation stack automatically").
    template.has_resource(
        "AWS::DynamoDB::Table",
        {
            "DeletionPolicy": "Retain",
            "UpdateReplacePolicy": "Retain",
            "Properties": Match.object_like(
                {
                    "TableName": f"{Config.from_context(PARAMS).stack_name}-idempotency",
                    "KeySchema": [{"AttributeName": "id", "KeyType": "HASH"}],
                }
            ),
        },
    )


def test_the_account_logs_by_a_role_that_is_kept_under_a_name_of_its_region(synthesize: Synthesize) -> None:
    names = []
    for region in ("us-east-1", "ap-southeast-1"):
        template = synthesize(aws_region_name=region)
        template.has_resource("AWS::ApiGateway::Account", {"DeletionPolicy": "Retain"})
        template.resource_count_is("AWS::ApiGateway::Account", 1)
        (role,) = (
            role
            for role in template.find_resources("AWS::IAM::Role").values()
            if "AmazonAPIGatewayPushToCloudWatchLogs" in str(role)
        )
        assert role["DeletionPolicy"] == "Retain"
        name = role["Properties"]["RoleName"]
        assert name.endswith(f"-{region}")
        assert len(name) <= 64
        names.append(name)
    assert len(set(names)) == 2


def test_the_accounts_role_is_left_alone_where_another_stack_sets_it(synthesize: Synthesize) -> None:
    template = synthesize(set_api_gateway_account_role=False)

    template.resource_count_is("AWS::ApiGateway::Account", 0)
    assert "AmazonAPIGatewayPushToCloudWatchLogs" not in str(template.find_resources("AWS::IAM::Role"))
    # The stage still asks for its logs.
    template.has_resource_properties("AWS::ApiGateway::Stage", {"AccessLogSetting": Match.any_value()})


def test_two_products_of_one_account_share_no_name_and_no_metric(synthesize: Synthesize) -> None:
    def names(template: Template) -> set[str]:
        resources = template.to_json()["Resources"].values()
        (firewall,) = template.find_resources("AWS::WAFv2::WebACL").values()
        return {firewall["Properties"]["VisibilityConfig"]["MetricName"]} | {
            value
            for resource in resources
            for name, value in resource.get("Properties", {}).items()
            if name in {"FunctionName", "RoleName", "TableName", "Name", "AlarmName", "DashboardName"}
            and isinstance(value, str)
        }

    def services(template: Template) -> set[str]:
        return set(re.findall(r'"Name": "service", "Value": "([^"]+)"', json.dumps(template.to_json()))) | {
            function["Properties"]["Environment"]["Variables"]["POWERTOOLS_SERVICE_NAME"]
            for function in template.find_resources("AWS::Lambda::Function").values()
        }

    one, another = (
        synthesize(stack_name=name, set_api_gateway_account_role=name == "product-a", waf=True)
        for name in ("product-a", "product-b")
    )

    assert names(one)
    assert not names(one) & names(another)
    assert (services(one), services(another)) == ({"product-a"}, {"product-b"})
