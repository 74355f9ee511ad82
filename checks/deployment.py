"""A deployed stack and its API, as ``make verify`` finds and calls it."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Self

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from infra.config import Authorization
from metering_handlers.contract.problem_types import PROBLEM_JSON

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botocore.credentials import Credentials

    from checks.target_account import TargetAccount
    from metering_handlers.contract.problem_types import ProblemType

_TIMEOUT_SECONDS = (5, 35)
"""Connect and read timeouts: API Gateway itself gives up after 29 s."""
_ADVICE = {
    403: "May your identity call execute-api:Invoke, and is this machine in params.allowed_cidrs?",
    404: "Check METERING_API_URL.",
    429: "The throttle or the key's quota is used up; try later.",
}
_SERVER_ERROR = "See ServerErrors in docs/operations.md."


class FailedError(Exception):
    """A check failed; the message says why, and what to do."""


@dataclass(frozen=True)
class Deployment:
    """A deployed stack.

    Parameters
    ----------
    target : TargetAccount
        Account, region and configuration.
    api_url : str
        URL of the API, without a slash at its end.
    credentials : Credentials | None
        Credentials to sign with; None if callers do not sign.
    authorization_headers : Mapping[str, str]
        The header with the API key; empty if callers need none.
    resources : Mapping[str, Mapping[str, str]]
        Physical id by logical id, for each CloudFormation type.
    """

    target: TargetAccount
    api_url: str
    credentials: Credentials | None
    authorization_headers: Mapping[str, str]
    resources: Mapping[str, Mapping[str, str]]

    @classmethod
    def find(cls, target: TargetAccount) -> Self:
        """Find the stack by its name, and the API by the stack's outputs.

        Parameters
        ----------
        target : TargetAccount
            Account, region and configuration of the deployment.

        Raises
        ------
        FailedError
            If there is no such stack, if it is not the configured one, or if ``METERING_API_URL`` is no URL.
        ClientError
            If the credentials may not read the API key.
        """
        config, session = target.config, target.session
        cloudformation = session.client("cloudformation")
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
        resources: dict[str, dict[str, str]] = {}
        for summary in summaries:
            ids = resources.setdefault(summary["ResourceType"], {})
            ids[summary["LogicalResourceId"]] = summary.get("PhysicalResourceId", "")
        headers: dict[str, str] = {}
        if config.authorization is Authorization.API_KEY:
            if "ApiKeyId" not in outputs:
                raise FailedError(f"The stack {config.stack_name} has no API key yet: deploy it again.")
            headers["x-api-key"] = session.client("apigateway").get_api_key(
                apiKey=outputs["ApiKeyId"], includeValue=True
            )["value"]
        api_url = (os.environ.get("METERING_API_URL") or outputs["ApiUrl"]).rstrip("/")
        if not api_url.startswith(("https://", "http://")):
            raise FailedError(f"METERING_API_URL must be a URL, not {api_url!r}.")
        return cls(
            target=target,
            api_url=api_url,
            credentials=session.get_credentials() if config.authorization is Authorization.IAM else None,
            authorization_headers=headers,
            resources=resources,
        )

    def physical_id(self, resource_type: str, construct: str) -> str:
        """Find a resource by its CloudFormation type and the beginning of its logical id.

        Raises
        ------
        FailedError
            If the stack has no such resource.
        """
        for logical_id, physical_id in self.resources.get(resource_type, {}).items():
            if logical_id.startswith(construct):
                return physical_id
        raise FailedError(f"The stack has no {construct}. Deploy again (make deploy).")

    def send(
        self,
        method: str,
        path: str,
        payload: object = None,
        headers: Mapping[str, str] | None = None,
        *,
        authorized: bool = True,
    ) -> requests.Response:
        """Call the API.

        Parameters
        ----------
        method : str
            HTTP method.
        path : str
            Path below the API's URL, beginning with a slash, percent-encoded.
        payload : object
            Content of the JSON body; None for a request without a body.
        headers : Mapping[str, str] | None
            Further headers.
        authorized : bool
            Whether to sign the request, or to send the API key.

        Raises
        ------
        FailedError
            If there is no answer.
        """
        body = None if payload is None else json.dumps(payload)
        sent_headers = {} if body is None else {"Content-Type": "application/json"}
        if authorized:
            sent_headers |= self.authorization_headers
        sent_headers |= headers or {}
        request = AWSRequest(method, f"{self.api_url}{path}", headers=sent_headers, data=body)
        if authorized and self.credentials:
            region = self.target.config.aws_region_name
            SigV4Auth(self.credentials, "execute-api", region).add_auth(request)
        try:
            return requests.request(
                method,
                f"{self.api_url}{path}",
                data=body,
                headers=dict(request.headers.items()),
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise FailedError(
                f"{self.api_url} does not answer ({type(error).__name__}). Check the URL, DNS and proxies."
            ) from error

    def list_records(self, path_identifier: str, query: str = "") -> list[object]:
        """List a customer's records.

        Parameters
        ----------
        path_identifier : str
            The customer identifier, percent-encoded.
        query : str
            The query, with its question mark, percent-encoded.

        Raises
        ------
        FailedError
            If the answer is not a list of records.
        """
        response = self.send("GET", f"/listMeteringRecords/{path_identifier}{query}")
        expect(response, HTTPStatus.OK)
        records = members(response).get("records")
        if not isinstance(records, list):
            raise FailedError(f"{self.api_url} does not answer as this API does; check the URL.")
        return records


def members(response: requests.Response) -> dict[str, object]:
    """Return the members of an answer that is a JSON object; of any other answer, none."""
    try:
        document: object = response.json()
    except requests.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def expect(response: requests.Response, status: HTTPStatus, problem: ProblemType | None = None) -> None:
    """Check the status and the problem type of an answer.

    Parameters
    ----------
    response : Response
        The answer.
    status : HTTPStatus
        Expected status.
    problem : ProblemType | None
        Expected problem type; None if no problem is expected.

    Raises
    ------
    FailedError
        If the answer differs.
    """
    answer = members(response)
    if response.status_code != status:
        advice = _SERVER_ERROR if response.status_code >= 500 else _ADVICE.get(response.status_code, "")
        detail = answer.get("detail") or answer.get("message") or response.reason
        raise FailedError(
            f"The API answered {response.status_code} instead of {status.value}: {detail} {advice}".rstrip()
        )
    is_problem = response.headers.get("Content-Type") == PROBLEM_JSON
    if problem and not (is_problem and answer.get("type") == problem.uri):
        raise FailedError(
            f"The API answered {status.value}, but not with the problem {problem}. Is something else "
            "deployed at this URL? Deploy again (make deploy)."
        )
