"""API Gateway's own answers, and the problem types, in the contract."""

import json
import re
from typing import Any

import pytest

from metering_handlers.contract.problem_types import SAFE_REPEAT, ProblemType
from tests.unit.contract import DOCUMENT, resolved
from tests.unit.infra.stacks import PROJECT, properties, synthesize

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


def responses(**params: object) -> dict[str, dict[str, Any]]:
    """API Gateway's responses, by type."""
    found = properties(synthesize(**params), "ApiGateway::GatewayResponse")
    return {response["ResponseType"]: response for response in found}


def problem(response: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(response["ResponseTemplates"]["application/json"])
    return found


def test_every_response_is_documented_as_problem_details() -> None:
    """What has no response type of its own keeps its status: DEFAULT_4XX stands for 403 and 413."""
    titles = {problem_type.uri: problem_type.summary for problem_type in ProblemType}

    assert len(responses()) == 18
    for name, response in responses().items():
        found = problem(response)
        status = [] if name == "DEFAULT_4XX" else ["status"]
        assert list(found) == ["type", "title", *status, "detail", "instance"]
        assert str(found.get("status")) == str(response.get("StatusCode"))
        assert found["title"] == titles[found["type"]]
        assert found["instance"] == "$context.extendedRequestId"
        parameters = response["ResponseParameters"]
        assert parameters["gatewayresponse.header.Content-Type"] == "'application/problem+json'"
        for code in response.get("StatusCode", "403 413").split():
            assert (code, found["type"]) in DOCUMENTED
    detail = problem(responses()["DEFAULT_4XX"])["detail"]
    assert "413: the body is larger than 6 MB; split the request" in detail


def test_a_5xx_says_how_to_repeat_safely_and_has_no_retry_after() -> None:
    """A client obeys Retry-After by repeating what it sent: without a key or ids, that is stored twice."""
    failures = [found for found in map(problem, responses().values()) if found.get("status", 0) >= 500]

    assert {found["status"] for found in failures} == {500, 502, 504}
    assert all(SAFE_REPEAT in found["detail"] for found in failures)
    assert [name for name, found in responses().items() if "Retry-After" in str(found)] == ["THROTTLED"]


@pytest.mark.parametrize(
    ("authorization", "advice"),
    [("IAM", "Sign the request"), ("API_KEY", "x-api-key"), ("NONE", "certain networks")],
)
def test_a_403_says_what_this_api_asks_for(authorization: str, advice: str) -> None:
    """API Gateway answers an unknown path as it answers a request without a signature."""
    found = responses(authorization=authorization, allowed_cidrs=["203.0.113.0/24"])

    assert advice in problem(found["ACCESS_DENIED"])["detail"]
    wrong_path = problem(found["MISSING_AUTHENTICATION_TOKEN"])["detail"]
    assert re.match(f"Check path and method.*{advice}", wrong_path)


def test_examples_of_api_gateways_answers_are_what_it_answers() -> None:
    details = [problem(response)["detail"] for response in responses().values()]
    examples = [
        example["value"]["detail"]
        for answer in DOCUMENT["components"]["responses"].values()
        for content in answer["content"].values()
        for name, example in content["examples"].items()
        if name in GATEWAY_ONLY
    ]

    assert len(examples) >= len(GATEWAY_ONLY)
    for example in examples:
        assert any(detail.startswith(example) for detail in details)


def test_every_problem_type_is_in_the_documentation_and_none_besides() -> None:
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
    assert {uri for _, uri in DOCUMENTED} == {problem_type.uri for problem_type in ProblemType}
