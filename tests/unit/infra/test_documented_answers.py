"""API Gateway's own answers, and the problem types, in the contract."""

import json
import re
from itertools import repeat

from aws_cdk.assertions import Template

from metering_handlers.contract.problem_types import ProblemType
from tests.unit.contract import DOCUMENT, resolved
from tools.local_cloud.steps import PROJECT

PREFIX = "urn:marketplace-metering:problem:"
GATEWAY_ONLY = {
    ProblemType.BAD_REQUEST,
    ProblemType.FORBIDDEN,
    ProblemType.REQUEST_REFUSED,
    ProblemType.PAYLOAD_TOO_LARGE,
    ProblemType.TOO_MANY_REQUESTS,
    ProblemType.GATEWAY_TIMEOUT,
}
SCHEMAS = DOCUMENT["components"]["schemas"]
DOCUMENTED = {
    (status, problem)
    for item in DOCUMENT["paths"].values()
    for operation in item.values()
    for status, answer in operation["responses"].items()
    if status != "200"
    for content in resolved(answer)["content"].values()
    for problem in SCHEMAS[content["schema"]["$ref"].rpartition("/")[2]]["properties"]["type"]["enum"]
}
"""Each status with the problem types that it may stand for."""


def test_what_api_gateway_answers_is_documented(template: Template) -> None:
    # A response without a status keeps API Gateway's; two such are known.
    answers = [
        (status, json.loads(text))
        for response in template.find_resources("AWS::ApiGateway::GatewayResponse").values()
        for text in response["Properties"]["ResponseTemplates"].values()
        for status in response["Properties"].get("StatusCode", "403 413").split()
    ]

    assert answers
    assert {(status, problem["type"]) for status, problem in answers} <= DOCUMENTED
    titles = {problem_type.uri: problem_type.summary for problem_type in ProblemType}
    assert all(problem["title"] == titles[problem["type"]] for _, problem in answers)


def test_examples_of_api_gateways_answers_are_what_it_answers(template: Template) -> None:
    details = [
        json.loads(text)["detail"]
        for response in template.find_resources("AWS::ApiGateway::GatewayResponse").values()
        for text in response["Properties"]["ResponseTemplates"].values()
    ]
    examples = [
        example["value"]["detail"]
        for answer in DOCUMENT["components"]["responses"].values()
        for content in answer["content"].values()
        for name, example in content["examples"].items()
        if name in GATEWAY_ONLY
    ]

    assert len(examples) >= len(GATEWAY_ONLY)
    assert [example for example in examples if not any(map(str.startswith, details, repeat(example)))] == []


def test_every_problem_type_is_in_the_document_and_none_besides() -> None:
    assert {uri for _, uri in DOCUMENTED} == {problem_type.uri for problem_type in ProblemType}


def test_the_table_of_problem_types_in_the_documentation_is_the_same() -> None:
    text = (PROJECT / "docs" / "api.md").read_text(encoding="utf-8")
    _, _, table = text.partition(f"| status | type (`{PREFIX}…`)")
    rows = [line.split("|")[1:3] for line in table.splitlines()[2:] if line.startswith("|")]
    in_table = {
        (status, f"{PREFIX}{name}")
        for statuses, types in rows
        for status in re.findall(r"\d{3}", statuses)
        for name in re.findall(r"`(.+?)`", types)
    }

    assert in_table == DOCUMENTED
