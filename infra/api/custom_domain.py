"""The custom domain name of the API."""

from typing import cast

from aws_cdk import CfnOutput
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from constructs import Construct

from infra.config import Config, Domain


class CustomDomain(Construct):
    """A regional domain name, mapped to the stage, and its DNS records where the hosted zone is known."""

    def __init__(self, scope: Construct, config: Config, domain: Domain, api: apigateway.RestApi) -> None:
        super().__init__(scope, "CustomDomain")
        has_several_segments = domain.base_path is not None and "/" in domain.base_path
        # Only API Gateway v2 maps several segments, and its model of a domain knows the policies for TLS 1.0
        # and 1.2 only ("DomainNameConfiguration", API Gateway v2 API reference). Callers get the API's own
        # policy in any case ("Choose a security policy for your custom domain", API Gateway Developer Guide).
        is_legacy = has_several_segments or not config.partition.has_enhanced_tls
        policy = apigateway.SecurityPolicy
        domain_name = apigateway.DomainName(
            self,
            "DomainName",
            domain_name=domain.name,
            certificate=acm.Certificate.from_certificate_arn(self, "Certificate", domain.certificate_arn),
            endpoint_type=apigateway.EndpointType.REGIONAL,
            endpoint_access_mode=None if is_legacy else apigateway.EndpointAccessMode.STRICT,
            security_policy=policy.TLS_1_2 if is_legacy else policy.TLS13_1_2_PFS_PQ_2025_09,
        )
        if has_several_segments:
            domain_name.add_api_mapping(api.deployment_stage, base_path=domain.base_path)
        else:
            domain_name.add_base_path_mapping(api, base_path=domain.base_path, stage=api.deployment_stage)
        if config.is_dual_stack:
            cfn_domain_name = cast("apigateway.CfnDomainName", domain_name.node.default_child)
            cfn_domain_name.add_property_override("EndpointConfiguration.IpAddressType", "dualstack")
        if domain.hosted_zone_id and domain.hosted_zone_name:
            zone = route53.HostedZone.from_hosted_zone_attributes(
                self, "Zone", hosted_zone_id=domain.hosted_zone_id, zone_name=domain.hosted_zone_name
            )
            target = route53.RecordTarget.from_alias(targets.ApiGatewayDomain(domain_name))
            name = f"{domain.name}."
            route53.ARecord(self, "AliasRecord", zone=zone, record_name=name, target=target)
            if config.is_dual_stack:
                route53.AaaaRecord(self, "Ipv6AliasRecord", zone=zone, record_name=name, target=target)
        else:
            CfnOutput(
                self,
                "DnsTarget",
                value=domain_name.domain_name_alias_domain_name,
                description=f"Create a DNS record for {domain.name}: a CNAME, or an alias, to this name.",
            ).override_logical_id("DnsTarget")
