"""The custom domain name of the API."""

from collections.abc import Callable

from aws_cdk.assertions import Match, Template

from tests.unit.infra.variants import DOMAIN

Synthesize = Callable[..., Template]

ZONE = {"hosted_zone_id": "Z0123456789ABCDEFGHIJ", "hosted_zone_name": "example.com"}


def values(template: Template) -> dict[str, object]:
    return {name: output["Value"] for name, output in template.find_outputs("*").items()}


def test_the_domain_has_the_tls_policy_of_the_api(synthesize: Synthesize) -> None:
    template = synthesize(domain=DOMAIN)

    (api,) = template.find_resources("AWS::ApiGateway::RestApi").values()
    (domain,) = template.find_resources("AWS::ApiGateway::DomainName").values()
    for name in ("SecurityPolicy", "EndpointAccessMode"):
        assert domain["Properties"][name] == api["Properties"][name]
    assert domain["Properties"]["DomainName"] == "metering.example.com"
    assert domain["Properties"]["RegionalCertificateArn"] == DOMAIN["certificate_arn"]
    assert domain["Properties"]["EndpointConfiguration"]["Types"] == ["REGIONAL"]


def test_without_a_base_path_the_api_has_the_whole_domain(synthesize: Synthesize) -> None:
    template = synthesize(domain=DOMAIN)

    template.has_resource_properties("AWS::ApiGatewayV2::ApiMapping", {"ApiMappingKey": Match.absent()})
    assert values(template)["ApiUrl"] == "https://metering.example.com/"


def test_a_base_path_of_several_segments_is_in_the_mapping_and_in_all_urls(synthesize: Synthesize) -> None:
    template = synthesize(domain=DOMAIN | {"base_path": "billing/v1"})

    template.has_resource_properties("AWS::ApiGatewayV2::ApiMapping", {"ApiMappingKey": "billing/v1"})
    base = "https://metering.example.com/billing/v1/"
    outputs = values(template)
    outputs.pop("DnsTarget")
    assert outputs == {
        "ApiUrl": base,
        "InsertMeteringRecordUrl": f"{base}insertMeteringRecord/{{customerIdentifier}}",
        "InsertMeteringRecordsUrl": f"{base}insertMeteringRecords",
        "ListMeteringRecordsUrl": f"{base}listMeteringRecords/{{customerIdentifier}}",
    }


def test_the_default_endpoint_is_closed_unless_it_is_asked_for(synthesize: Synthesize) -> None:
    for params, disabled in (
        ({}, False),
        ({"domain": DOMAIN}, True),
        ({"domain": DOMAIN | {"keep_default_endpoint": True}}, False),
    ):
        (api,) = synthesize(**params).find_resources("AWS::ApiGateway::RestApi").values()
        assert api["Properties"].get("DisableExecuteApiEndpoint", False) is disabled
    assert "DefaultApiUrl" in values(synthesize(domain=DOMAIN | {"keep_default_endpoint": True}))


def test_the_alias_record_is_created_where_the_zone_is_known(synthesize: Synthesize) -> None:
    template = synthesize(domain=DOMAIN | ZONE)

    template.has_resource_properties(
        "AWS::Route53::RecordSet",
        {
            "Name": "metering.example.com.",
            "Type": "A",
            "HostedZoneId": ZONE["hosted_zone_id"],
            "AliasTarget": Match.any_value(),
        },
    )
    assert "DnsTarget" not in values(template)


def test_without_a_zone_an_output_says_where_the_record_has_to_point(synthesize: Synthesize) -> None:
    template = synthesize(domain=DOMAIN)

    template.resource_count_is("AWS::Route53::RecordSet", 0)
    target = values(template)["DnsTarget"]
    assert isinstance(target, dict)
    assert target["Fn::GetAtt"][1] == "RegionalDomainName"
