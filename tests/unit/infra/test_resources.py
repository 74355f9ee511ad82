"""Properties of the stack's resources, by configuration."""

from collections import Counter

import pytest
from aws_cdk.assertions import Match, Template

from tests.unit.infra.stacks import DOMAIN, PARAMS, ZONE, synthesize

ABSENT = Match.absent()
PRESENT = Match.any_value()
NETWORK = "203.0.113.0/24"
REGIONAL = Match.exact({"Types": ["REGIONAL"]})
MODERN_TLS = {"SecurityPolicy": "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09", "EndpointAccessMode": "STRICT"}
TLS_1_2 = {"SecurityPolicy": "TLS_1_2", "EndpointAccessMode": ABSENT}
SAFE_TABLE = {
    "BillingMode": "PAY_PER_REQUEST",
    "PointInTimeRecoverySpecification": {"PointInTimeRecoveryEnabled": True},
    "SSESpecification": {"SSEEnabled": True},
}


def hash_key(name: str) -> dict[str, str]:
    return {"AttributeName": name, "KeyType": "HASH"}


def has(template: Template, count: int, kind: str, **properties: object) -> None:
    """Check that so many resources of a kind have these properties."""
    template.resource_properties_count_is(f"AWS::{kind}", properties, count)


def test_by_default_callers_sign_and_nothing_that_costs_is_on() -> None:
    stack = synthesize()

    has(stack, 3, "ApiGateway::Method", AuthorizationType="AWS_IAM")
    has(stack, 3, "ApiGateway::Method")
    # The deployed stage alone may invoke a function, not the console's test.
    has(stack, 3, "Lambda::Permission", Principal="apigateway.amazonaws.com")
    has(stack, 3, "Lambda::Permission")
    has(stack, 1, "ApiGateway::RestApi", EndpointConfiguration=REGIONAL, Policy=ABSENT, **MODERN_TLS)
    has(stack, 1, "ApiGateway::RestApi", MinimumCompressionSize=1024, DisableExecuteApiEndpoint=False)
    for kind in ("ApiGateway::ApiKey", "ApiGateway::UsagePlan", "WAFv2::WebACL", "SNS::Subscription"):
        has(stack, 0, kind)
    has(stack, 1, "SNS::Topic", KmsMasterKeyId=ABSENT)


def test_a_path_must_name_its_customer() -> None:
    parameters = {"method.request.path.customerIdentifier": True}
    stack = synthesize()

    has(stack, 2, "ApiGateway::Method", RequestParameters=parameters, RequestValidatorId=PRESENT)
    has(stack, 1, "ApiGateway::RequestValidator", ValidateRequestParameters=True)


def test_an_api_key_has_rate_burst_and_quota() -> None:
    plan = {"rate_per_second": 3, "burst": 5, "requests_per_day": 7}
    stack = synthesize(authorization="API_KEY", usage_plan=plan)

    has(stack, 3, "ApiGateway::Method", AuthorizationType="NONE", ApiKeyRequired=True)
    has(stack, 1, "ApiGateway::UsagePlan", Throttle={"RateLimit": 3, "BurstLimit": 5}, ApiStages=[PRESENT])
    has(stack, 1, "ApiGateway::UsagePlan", Quota={"Limit": 7, "Period": "DAY"})
    has(stack, 1, "ApiGateway::ApiKey", Enabled=True)
    has(stack, 1, "ApiGateway::UsagePlanKey")


@pytest.mark.parametrize(
    ("authorization", "conditions"),
    [
        # An Allow would let the identities of all accounts in.
        ("IAM", {"Deny": "NotIpAddress"}),
        ("API_KEY", {"Allow": "IpAddress", "Deny": "NotIpAddress"}),
        ("NONE", {"Allow": "IpAddress", "Deny": "NotIpAddress"}),
    ],
)
def test_only_the_allowed_networks_may_call(authorization: str, conditions: dict[str, str]) -> None:
    statements = [
        {
            "Action": "execute-api:Invoke",
            "Condition": {condition: {"aws:SourceIp": [NETWORK]}},
            "Effect": effect,
            "Principal": {"AWS": "*"},
            "Resource": "execute-api:/*",
        }
        for effect, condition in conditions.items()
    ]
    stack = synthesize(authorization=authorization, allowed_cidrs=[NETWORK])

    has(stack, 1, "ApiGateway::RestApi", Policy=Match.object_like({"Statement": Match.exact(statements)}))


def test_the_stage_is_throttled_and_logs_no_payloads() -> None:
    """Metrics of each method, and traces, would cost money."""
    settings = {
        "HttpMethod": "*",
        "ResourcePath": "/*",
        "ThrottlingRateLimit": 11,
        "ThrottlingBurstLimit": 13,
        "MetricsEnabled": False,
        "LoggingLevel": "ERROR",
        "DataTraceEnabled": False,
    }
    stack = synthesize(throttle={"rate_per_second": 11, "burst": 13})

    has(stack, 1, "ApiGateway::Stage", StageName="prod", TracingEnabled=False, MethodSettings=[settings])


def test_another_stacks_logging_role_is_left_alone() -> None:
    stack = synthesize(set_api_gateway_account_role=False)

    has(stack, 0, "ApiGateway::Account")
    has(stack, 0, "IAM::Role", ManagedPolicyArns=PRESENT)
    # The stage still asks for its logs.
    has(stack, 1, "ApiGateway::Stage", AccessLogSetting=PRESENT)


def test_a_domain_has_a_v1_mapping_and_the_apis_tls() -> None:
    """It closes the default endpoint."""
    stack = synthesize(domain=DOMAIN)

    has(stack, 1, "ApiGateway::DomainName", DomainName=DOMAIN["name"], EndpointConfiguration=REGIONAL)
    has(stack, 1, "ApiGateway::DomainName", RegionalCertificateArn=DOMAIN["certificate_arn"], **MODERN_TLS)
    has(stack, 1, "ApiGateway::BasePathMapping", BasePath=ABSENT, RestApiId=PRESENT, Stage=PRESENT)
    has(stack, 1, "ApiGateway::RestApi", DisableExecuteApiEndpoint=True)
    has(stack, 0, "Route53::RecordSet")


def test_a_base_path_has_a_mapping_of_the_version_that_its_segments_need() -> None:
    """API Gateway v2, which maps several segments, knows no policy above TLS 1.2."""
    one = synthesize(domain=DOMAIN | {"base_path": "billing", "keep_default_endpoint": True})
    several = synthesize(domain=DOMAIN | {"base_path": "billing/v1"})

    has(one, 1, "ApiGateway::BasePathMapping", BasePath="billing")
    has(one, 0, "ApiGatewayV2::ApiMapping")
    has(one, 1, "ApiGateway::RestApi", DisableExecuteApiEndpoint=False)
    has(several, 1, "ApiGateway::DomainName", **TLS_1_2)
    has(several, 1, "ApiGatewayV2::ApiMapping", ApiMappingKey="billing/v1")
    has(several, 0, "ApiGateway::BasePathMapping")


@pytest.mark.parametrize("region", ["us-gov-west-1", "eusc-de-east-1"])
def test_partitions_without_enhanced_policies_get_tls_1_2(region: str) -> None:
    certificate = DOMAIN["certificate_arn"].replace("us-east-1", region)
    stack = synthesize(aws_region_name=region, domain=DOMAIN | {"certificate_arn": certificate})

    has(stack, 1, "ApiGateway::RestApi", **TLS_1_2)
    has(stack, 1, "ApiGateway::DomainName", **TLS_1_2)


@pytest.mark.parametrize(("networks", "is_dual"), [([NETWORK], False), ([NETWORK, "2001:db8::/32"], True)])
def test_an_ipv6_network_makes_api_domain_and_dns_dual_stack(networks: list[str], is_dual: bool) -> None:
    stack = synthesize(domain=DOMAIN | ZONE, allowed_cidrs=networks)

    endpoint = Match.exact({"Types": ["REGIONAL"], "IpAddressType": "dualstack"}) if is_dual else REGIONAL
    has(stack, 1, "ApiGateway::RestApi", EndpointConfiguration=endpoint)
    has(stack, 1, "ApiGateway::DomainName", EndpointConfiguration=endpoint)
    alias = {"Name": "metering.example.com.", "HostedZoneId": ZONE["hosted_zone_id"], "AliasTarget": PRESENT}
    has(stack, 1, "Route53::RecordSet", Type="A", **alias)
    has(stack, int(is_dual), "Route53::RecordSet", Type="AAAA", **alias)


@pytest.mark.parametrize(("architecture", "days"), [("arm64", 90), ("x86_64", 400)])
def test_functions_run_for_less_time_than_api_gateway_waits(architecture: str, days: int) -> None:
    """Their logs, and API Gateway's, expire."""
    stack = synthesize(lambda_architecture=architecture, log_retention_days=days)

    has(stack, 3, "Lambda::Function", Runtime="python3.13", Architectures=[architecture], Timeout=27)
    has(stack, 3, "Lambda::Function", LoggingConfig={"LogGroup": PRESENT})
    has(stack, 5, "Logs::LogGroup", RetentionInDays=days)
    has(stack, 5, "Logs::LogGroup")


def test_the_idempotency_table_is_backed_up_and_protected() -> None:
    """CloudFormation imports only what has a literal name and is retained.

    "Import AWS resources into a CloudFormation stack automatically", AWS CloudFormation User Guide.
    """
    has(
        synthesize(),
        1,
        "DynamoDB::Table",
        TableName="cdk-apigw-marketplace-metering-records-idempotency",
        KeySchema=[hash_key("id")],
        TimeToLiveSpecification={"AttributeName": "delete_after", "Enabled": True},
        DeletionProtectionEnabled=True,
        **SAFE_TABLE,
    )


def test_a_sandbox_gets_a_metering_table_with_the_quickstarts_schema() -> None:
    types = {"customerIdentifier": "S", "create_timestamp": "N", "metering_pending": "S"}
    index = {"KeySchema": [hash_key("metering_pending")], "Projection": {"ProjectionType": "ALL"}}
    has(
        synthesize(create_metering_table=True),
        1,
        "DynamoDB::Table",
        TableName=PARAMS["metering_table_name"],
        KeySchema=[hash_key("customerIdentifier"), hash_key("create_timestamp") | {"KeyType": "RANGE"}],
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in types.items()],
        GlobalSecondaryIndexes=[{"IndexName": "PendingMeteringRecordsIndex", **index}],
        **SAFE_TABLE,
    )


def test_logs_tables_and_the_accounts_role_outlive_the_stack() -> None:
    retained = Counter(
        resource["Type"].removeprefix("AWS::")
        for resource in synthesize(create_metering_table=True).to_json()["Resources"].values()
        if resource.get("DeletionPolicy") == resource.get("UpdateReplacePolicy") == "Retain"
    )

    assert retained == {"Logs::LogGroup": 5, "DynamoDB::Table": 2, "IAM::Role": 1, "ApiGateway::Account": 1}


def test_alarms_are_e_mailed_from_a_topic_that_takes_tls_only() -> None:
    tls_only = {"Effect": "Deny", "Condition": {"Bool": {"aws:SecureTransport": "false"}}}
    of_this_account = {
        "Effect": "Allow",
        "Principal": {"Service": "cloudwatch.amazonaws.com"},
        "Condition": {"StringEquals": {"aws:SourceAccount": PRESENT}},
    }
    stack = synthesize(alarm_email="operator@example.com")

    has(stack, 1, "SNS::TopicPolicy", PolicyDocument={"Statement": [tls_only, of_this_account]})
    has(stack, 1, "SNS::Subscription", Protocol="email", Endpoint="operator@example.com")
