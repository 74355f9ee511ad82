"""A deployed stack and its API, as ``make verify`` finds and calls it."""

import os
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import requests
from botocore.exceptions import ClientError
from pydantic import JsonValue
from requests_aws4auth import AWS4Auth

from checks.outcomes import FailedError
from checks.target_account import TargetAccount
from infra.config import Authorization
from metering_handlers.contract.problem_types import PROBLEM_JSON, ProblemType

Authorize = Callable[[requests.PreparedRequest], requests.PreparedRequest]

_TIMEOUT_SECONDS = (5, 35)
"""Connect and read timeouts: API Gateway itself gives up after 29 s."""
_ADVICE = {
    403: " May your identity call execute-api:Invoke, and is this machine in params.allowed_cidrs?",
    404: " Check METERING_API_URL.",
    429: " The throttle or the key's quota is used up; try later.",
}
_SERVER_ERROR = " See ServerErrors in docs/operations.md."


def as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Authorize nothing; without an ``auth``, requests would send a password of ``~/.netrc``."""
    return request


@dataclass(frozen=True)
class Deployment(TargetAccount):
    """A stack in its account."""

    api_url: str
    """Without a slash at its end."""
    authorize: Authorize
    """Signs a request, or adds the API key."""
    resources: Mapping[str, Mapping[str, str]]
    """Physical id by logical id, for each CloudFormation type."""

    def physical_id(self, resource_type: str, construct: str) -> str:
        """Find a resource by its CloudFormation type and the beginning of its logical id."""
        for logical_id, physical_id in self.resources.get(resource_type, {}).items():
            if logical_id.startswith(construct):
                return physical_id
        raise FailedError(f"The stack has no {construct}. Deploy again (make deploy).")

    def call(  # noqa: PLR0913 - the parts of an HTTP request, and of its answer
        self,
        method: str,
        path: str,
        payload: JsonValue = None,
        *,
        headers: Mapping[str, str] | None = None,
        authorize: Authorize | None = None,
        expected: HTTPStatus = HTTPStatus.OK,
        problem: ProblemType | None = None,
    ) -> requests.Response:
        """Call the API at a percent-encoded path, with a JSON body unless the payload is None.

        Raises FailedError if there is no answer, or one with another status or problem type.
        """
        try:
            response = requests.request(
                method,
                f"{self.api_url}{path}",
                json=payload,
                headers=headers,
                auth=authorize or self.authorize,
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise FailedError(
                f"{self.api_url} does not answer ({type(error).__name__}). Check the URL, DNS and proxies."
            ) from error
        status, answer = response.status_code, members(response)
        if status != expected:
            advice = _SERVER_ERROR if status >= 500 else _ADVICE.get(status, "")
            detail = answer.get("detail") or answer.get("message") or response.reason
            raise FailedError(f"The API answered {status} instead of {expected.value}: {detail}{advice}")
        is_problem = response.headers.get("Content-Type") == PROBLEM_JSON
        if problem and not (is_problem and answer.get("type") == problem.uri):
            raise FailedError(
                f"The API answered {status}, but not with the problem {problem}. Is something else deployed "
                "at this URL? Deploy again (make deploy)."
            )
        return response

    def list_records(self, path_identifier: str, query: str = "") -> list[object]:
        """List a customer's records; identifier and query are percent-encoded."""
        records = members(self.call("GET", f"/listMeteringRecords/{path_identifier}{query}")).get("records")
        if not isinstance(records, list):
            raise FailedError(f"{self.api_url} does not answer as this API does; check the URL.")
        return records


def find_deployment(target: TargetAccount) -> Deployment:
    """Find the stack by its name, and the API by the stack's outputs or ``METERING_API_URL``."""
    config = target.config
    cloudformation = target.session.client("cloudformation")
    try:
        (stack,) = cloudformation.describe_stacks(StackName=config.stack_name)["Stacks"]
        pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=config.stack_name)
        summaries = [summary for page in pages for summary in page["StackResourceSummaries"]]
    except ClientError as error:
        raise FailedError(
            f"The stack {config.stack_name} cannot be found in {config.aws_region_name}: "
            f"{str(error).rstrip('.')}. "
            "Deploy it first (make deploy), or give the same ARGS as at its deployment."
        ) from error
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}
    if "ApiUrl" not in outputs:
        raise FailedError(f"The stack {config.stack_name} is in {stack['StackStatus']}: deploy it again.")
    api_url = (os.environ.get("METERING_API_URL") or outputs["ApiUrl"]).rstrip("/")
    if not api_url.startswith(("https://", "http://")):
        raise FailedError(f"METERING_API_URL must be a URL, not {api_url!r}.")
    resources: dict[str, dict[str, str]] = defaultdict(dict)
    for summary in summaries:
        physical_id = summary.get("PhysicalResourceId", "")
        resources[summary["ResourceType"]][summary["LogicalResourceId"]] = physical_id
    authorize = authorization(target, outputs.get("ApiKeyId"))
    return Deployment(target.session, config, target.account_id, api_url, authorize, resources)


def authorization(target: TargetAccount, api_key_id: str | None) -> Authorize:
    """Return what authorizes a request under ``params.authorization``."""
    session, config = target.session, target.config
    if config.authorization is Authorization.IAM:
        signer: Authorize = AWS4Auth(
            refreshable_credentials=session.get_credentials(),
            region=config.aws_region_name,
            service="execute-api",
        )
        return signer
    if config.authorization is Authorization.NONE:
        return as_it_is
    if api_key_id is None:
        raise FailedError(f"The stack {config.stack_name} has no API key yet: deploy it again.")
    key: str = session.client("apigateway").get_api_key(apiKey=api_key_id, includeValue=True)["value"]

    def add_key(request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["x-api-key"] = key
        return request

    return add_key


def members(response: requests.Response) -> dict[str, object]:
    """Return the members of an answer that is a JSON object; of any other answer, none."""
    try:
        document: object = response.json()
    except requests.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}
