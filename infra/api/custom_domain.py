"""The custom domain name of the API."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_cdk import CfnOutput
from aws_cdk import aws_apigateway as apigateway
from aws_cdk import aws_certificatemanager as acm
from aws_cdk import aws_route53 as route53
from aws_cdk import aws_route53_targets as targets
from constructs import Construct

if TYPE_CHECKING:
    from infra.config import Domain


class CustomDomain(Construct):
    """A regional domain name, mapped to the API's stage, and its DNS record where the hosted zone is known.

    Parameters
    ----------
    scope : Construct
        Parent construct.
    construct_id : str
        Construct id, unique within the parent.
    domain : Domain
        The checked parameters.
    stage : Stage
        Stage of the API.
    """

    def __init__(
        self, scope: Construct, construct_id: str, *, domain: Domain, stage: apigateway.Stage
    ) -> None:
        super().__init__(scope, construct_id)
        domain_name = apigateway.DomainName(
            self,
            "DomainName",
            domain_name=domain.name,
            certificate=acm.Certificate.from_certificate_arn(self, "Certificate", domain.certificate_arn),
            endpoint_type=apigateway.EndpointType.REGIONAL,
            endpoint_access_mode=apigateway.EndpointAccessMode.STRICT,
            # The API's policy, which API Gateway applies anyway ("Choose a security policy for your custom
            # domain", API Gateway Developer Guide).
            security_policy=apigateway.SecurityPolicy.TLS13_1_2_PFS_PQ_2025_09,
        )
        # Of API Gateway's two kinds of mapping, the one that allows base paths of several segments ("Use API
        # mappings to connect API stages to a custom domain name for REST APIs", API Gateway Developer Guide).
        domain_name.add_api_mapping(stage, base_path=domain.base_path)
        if domain.hosted_zone_id and domain.hosted_zone_name:
            zone = route53.HostedZone.from_hosted_zone_attributes(
                self, "Zone", hosted_zone_id=domain.hosted_zone_id, zone_name=domain.hosted_zone_name
            )
            route53.ARecord(
                self,
                "AliasRecord",
                zone=zone,
                record_name=f"{domain.name}.",
                target=route53.RecordTarget.from_alias(targets.ApiGatewayDomain(domain_name)),
            )
        else:
            CfnOutput(
                self,
                "DnsTarget",
                value=domain_name.domain_name_alias_domain_name,
                description=f"Create a DNS record for {domain.name}: a CNAME, or an alias, to this name.",
            ).override_logical_id("DnsTarget")
