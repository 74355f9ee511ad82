"""API Gateway's own answers, in the contract."""

import json

from aws_cdk.assertions import Template

from tests.unit.contract import DOCUMENT, resolved


def test_what_api_gateway_answers_is_documented(template: Template) -> None:
    documented = {
        (status, problem)
        for item in DOCUMENT["paths"].values()
        for operation in item.values()
        for status, answer in operation["responses"].items()
        for content in resolved(answer)["content"].values()
        for part in content["schema"].get("allOf", [])
        for problem in part.get("properties", {}).get("type", {}).get("enum", [])
    }

    responses = template.find_resources("AWS::ApiGateway::GatewayResponse").values()
    answered = {
        (
            response["Properties"]["StatusCode"],
            json.loads(response["Properties"]["ResponseTemplates"]["application/json"])["type"],
        )
        for response in responses
    }
    assert answered
    assert answered <= documented
