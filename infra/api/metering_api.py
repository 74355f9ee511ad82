"""The REST API: routes, authorization, throttling, and access log."""

import json
from collections.abc import Sequence
from typing import cast

from aws_cdk import Acknowledgment, CfnOutput, Names, Size, Stack, Validations
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_iam as iam
from constructs import Construct

from infra.api.custom_domain import CustomDomain
from infra.api.gateway_responses import add_gateway_responses
from infra.config import Authorization, Config, UsagePlan
from infra.functions import CUSTOMER
from infra.metering_function import MeteringFunction, RetainedLogGroup

STAGE_NAME = "prod"
_ROLE_NAME_LENGTH = 64
"""Maximum length of a role's name (IAM User Guide, "IAM and AWS STS quotas")."""
_LOGGING_POLICY = "service-role/AmazonAPIGatewayPushToCloudWatchLogs"

# Without headers, so that no signature or key is logged.
_ACCESS_LOG_FIELDS = {
    "requestId": "$context.requestId",
    "extendedRequestId": "$context.extendedRequestId",
    "requestTimeEpoch": "$context.requestTimeEpoch",
    "httpMethod": "$context.httpMethod",
    "resourcePath": "$context.resourcePath",
    "path": "$context.path",
    "status": "$context.status",
    "responseLength": "$context.responseLength",
    "responseLatency": "$context.responseLatency",
    "integrationLatency": "$context.integration.latency",
    "integrationStatus": "$context.integration.status",
    "integrationError": "$context.integration.error",
    "errorResponseType": "$context.error.responseType",
    "errorMessage": "$context.error.message",
    "sourceIp": "$context.identity.sourceIp",
    "userArn": "$context.identity.userArn",
    "apiKeyId": "$context.identity.apiKeyId",
    "wafResponseCode": "$context.wafResponseCode",
}


class MeteringApi(Construct):
    """The REST API, one route for each function, at the stage ``prod``."""

    def __init__(self, scope: Construct, config: Config, functions: Sequence[MeteringFunction]) -> None:
        super().__init__(scope, "Api")
        self.access_log_group = RetainedLogGroup(self, "AccessLogs", config)
        self.rest_api = self._create(config)
        if config.set_api_gateway_account_role:
            self._name_account_role()
        self._refuse_old_tls(has_enhanced_policies=config.partition.has_enhanced_tls)
        # API Gateway would create its log group itself, without a retention period.
        execution_logs = f"API-Gateway-Execution-Logs_{self.rest_api.rest_api_id}/{STAGE_NAME}"
        self.rest_api.deployment_stage.node.add_dependency(
            RetainedLogGroup(self, "ExecutionLogs", config, name=execution_logs)
        )
        add_gateway_responses(self.rest_api, config.authorization)
        # The stack's outputs name the URLs; CDK's own output would repeat one of them.
        self.rest_api.node.try_remove_child("Endpoint")
        url = self.rest_api.url
        if domain := config.domain:
            CustomDomain(self, config, domain, self.rest_api)
            if domain.keep_default_endpoint:
                self._output("DefaultApiUrl", url, "Base URL without the domain.")
            url = f"https://{domain.name}/{f'{domain.base_path}/' if domain.base_path else ''}"
        self._output("ApiUrl", url, "Base URL of the API.")
        self._add_routes(functions, url)
        if config.authorization is Authorization.API_KEY:
            self._hand_out_key(config.usage_plan)
        self._acknowledge_findings(config)

    def _create(self, config: Config) -> apigateway.RestApi:
        authorization = apigateway.AuthorizationType
        return apigateway.RestApi(
            self,
            "RestApi",
            rest_api_name=Stack.of(self).stack_name,
            description="Stores usage for AWS Marketplace metering, and lists it with its outcome.",
            endpoint_configuration=apigateway.EndpointConfiguration(
                types=[apigateway.EndpointType.REGIONAL],
                ip_address_type=apigateway.IpAddressType.DUAL_STACK if config.is_dual_stack else None,
            ),
            disable_execute_api_endpoint=bool(config.domain and not config.domain.keep_default_endpoint),
            # For callers that accept gzip; bodies sent as gzip are unpacked before the function sees them
            # (API Gateway Developer Guide, "Payload compression for REST APIs").
            min_compression_size=Size.kibibytes(1),
            # API Gateway writes logs only through a role that is set for the whole account and region.
            cloud_watch_role=config.set_api_gateway_account_role,
            policy=_resource_policy(config),
            deploy_options=apigateway.StageOptions(
                stage_name=STAGE_NAME,
                throttling_rate_limit=config.throttle.rate_per_second,
                throttling_burst_limit=config.throttle.burst,
                access_log_destination=apigateway.LogGroupLogDestination(self.access_log_group),
                access_log_format=apigateway.AccessLogFormat.custom(json.dumps(_ACCESS_LOG_FIELDS)),
                # Errors only, and without data: the other levels log payloads.
                logging_level=apigateway.MethodLoggingLevel.ERROR,
                data_trace_enabled=False,
                # The stage's own metrics are free; those of each method cost as much as custom ones, and a
                # trace would hold no more than the latencies in the access log (docs/performance.md).
                metrics_enabled=False,
                tracing_enabled=False,
            ),
            default_method_options=apigateway.MethodOptions(
                authorization_type=authorization.IAM
                if config.authorization is Authorization.IAM
                else authorization.NONE,
                api_key_required=config.authorization is Authorization.API_KEY,
            ),
        )

    def _output(self, name: str, value: str, description: str) -> None:
        CfnOutput(self, name, value=value, description=description).override_logical_id(name)

    def _add_routes(self, functions: Sequence[MeteringFunction], url: str) -> None:
        validator = self.rest_api.add_request_validator(
            "ParameterValidator", validate_request_parameters=True
        )
        for function in functions:
            spec = function.spec
            self.rest_api.root.resource_for_path(spec.path).add_method(
                spec.method,
                apigateway.LambdaIntegration(function.function, allow_test_invoke=False),
                request_parameters={"method.request.path.customerIdentifier": True}
                if CUSTOMER in spec.path
                else None,
                request_validator=validator,
            )
            path = spec.path.replace("+}", "}")
            self._output(f"{spec.name}Url", f"{url}{path}", f"{spec.method} {path}")

    def _name_account_role(self) -> None:
        """Name the account's logging role, so that a new deployment imports it.

        It is kept when the stack is deleted, because other APIs of the account may use it; with a generated
        name each deployment would add another one. IAM is global, so the name includes the region.
        """
        role = self.rest_api.node.find_child("CloudWatchRole")
        suffix = f"-{Stack.of(self).region}"
        name = Names.unique_resource_name(role, max_length=_ROLE_NAME_LENGTH - len(suffix), separator="-")
        cast("iam.CfnRole", role.node.default_child).role_name = name + suffix

    def _refuse_old_tls(self, *, has_enhanced_policies: bool) -> None:
        """Accept only TLS 1.2 and 1.3; with forward secrecy, and for the own host name, where AWS can."""
        cfn_rest_api = cast("apigateway.CfnRestApi", self.rest_api.node.default_child)
        cfn_rest_api.security_policy = "TLS_1_2"
        if has_enhanced_policies:
            cfn_rest_api.security_policy = "SecurityPolicy_TLS13_1_2_PFS_PQ_2025_09"
            cfn_rest_api.endpoint_access_mode = "STRICT"

    def _hand_out_key(self, limits: UsagePlan) -> None:
        plan = self.rest_api.add_usage_plan(
            "UsagePlan",
            throttle=apigateway.ThrottleSettings(rate_limit=limits.rate_per_second, burst_limit=limits.burst),
            quota=apigateway.QuotaSettings(limit=limits.requests_per_day, period=apigateway.Period.DAY),
        )
        plan.add_api_stage(stage=self.rest_api.deployment_stage)
        key = self.rest_api.add_api_key("ApiKey", description="For the seller's billing software.")
        plan.add_api_key(key)
        how_to_see_it = "aws apigateway get-api-key --include-value --api-key <this> shows the key."
        self._output("ApiKeyId", key.key_id, how_to_see_it)

    def _acknowledge_findings(self, config: Config) -> None:
        """Acknowledge the cdk-nag findings that are intended, with the reasons."""
        reasons = {
            "APIG2": "The functions validate bodies, and list all errors.",
            "COG4": "Callers are the seller's programs, identified by IAM or an API key, not by a user pool.",
        }
        if config.set_api_gateway_account_role:
            reasons[f"IAM4[Policy::arn:<AWS::Partition>:iam::aws:policy/{_LOGGING_POLICY}]"] = (
                "AWS requires this policy on the account's role with which API Gateway writes logs."
            )
        if not config.waf:
            reasons["APIG3"] = "Callers sign or hold a key; params.waf puts AWS WAF in front."
        if config.authorization is not Authorization.IAM:
            reasons["APIG4"] = (
                "params.authorization asks for it: an API key, or networks in the resource policy."
            )
        for rule, reason in reasons.items():
            Validations.of(self).acknowledge(
                Acknowledgment(id=f"AwsSolutions::AwsSolutions-{rule}", reason=reason)
            )


def _resource_policy(config: Config) -> iam.PolicyDocument | None:
    """Restrict callers to ``allowed_cidrs``.

    With IAM the policy only denies: an Allow statement would admit the identities of all accounts
    ("API Gateway resource policies", how authorization decisions are made).
    """
    if not config.allowed_cidrs:
        return None
    conditions = {iam.Effect.ALLOW: "IpAddress", iam.Effect.DENY: "NotIpAddress"}
    if config.authorization is Authorization.IAM:
        del conditions[iam.Effect.ALLOW]
    return iam.PolicyDocument(
        statements=[
            iam.PolicyStatement(
                effect=effect,
                principals=[iam.AnyPrincipal()],
                actions=["execute-api:Invoke"],
                resources=["execute-api:/*"],
                conditions={condition: {"aws:SourceIp": list(config.allowed_cidrs)}},
            )
            for effect, condition in conditions.items()
        ]
    )
