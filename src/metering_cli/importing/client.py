"""Client of the API's bulk insert: its answers, and every failure as a sentence without secrets."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeVar

import requests
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import TypeAdapter, ValidationError
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, NewConnectionError
from urllib3.util import Retry

from metering_cli.importing.usage_file import ProblemsError
from metering_cli.wording import printable
from metering_handlers.contract.answers import DryRun, Duplicate, Inserted, Violation

if TYPE_CHECKING:
    from collections.abc import Callable

    from metering_cli.importing.bulk import Request

    Authorization = Callable[[requests.PreparedRequest], requests.PreparedRequest]
    Known = dict[tuple[str, str], bool]

T = TypeVar("T")

_NO_CREDENTIALS = (AttributeError, TypeError, ValueError)
"""What botocore raises where what credential_process prints is not what it should be."""
CREDENTIAL_ERRORS = (BotoCoreError, ClientError, OSError, *_NO_CREDENTIALS)
"""What botocore raises where credentials cannot be had."""

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
"""API Gateway's own time-out is 29 s."""
_CUT_OFF = requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError
_MAX_SHOWN_CHARACTERS = 500
_DRY_RUN = TypeAdapter(DryRun)
_INSERTED = TypeAdapter(Inserted)
_PROBLEM = TypeAdapter(dict[str, object])
_VIOLATIONS = TypeAdapter(list[Violation])


class SendError(Exception):
    """A request failed, and would fail again; the message says why."""


class TransientError(SendError):
    """A request failed, and the same request may succeed in ``retry_after`` seconds or later."""

    def __init__(self, message: str, retry_after: float = 0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Client:
    """Client of the API's bulk insert, without retries.

    Its methods return the keys of the entries that were stored before, and whether their usage differs. They
    raise ``ProblemsError`` if the API refuses lines, and ``SendError`` if the request fails otherwise.
    ``ca_bundle`` is a file or folder of trusted certificates; None stands for those of ``requests``.
    """

    def __init__(self, api_url: str, authorize: Authorization, ca_bundle: str | None = None) -> None:
        self._url = f"{api_url}/insertMeteringRecords"
        self._ca_bundle = ca_bundle
        self._session = requests.Session()
        # With an authorization of its own, the session does not take one from ~/.netrc.
        self._session.auth = authorize

    def check(self, request: Request) -> Known:
        """Let the API check a request; nothing is written."""
        answer = self._post(_DRY_RUN, request, {"dry_run": "true"})
        return _known(request, answer["duplicates"])

    def store(self, request: Request) -> Known:
        """Store a request."""
        answer = self._post(_INSERTED, request, {})
        known = _known(request, answer.get("duplicates", []))
        holders = {record["customerIdentifier"] for record in answer.get("records", [])}
        if missing := sum(line.key not in known and line.customer not in holders for line in request.lines):
            raise SendError(f"The API stored all but {missing} of {len(request.lines)} lines; report this.")
        return known

    def _post(self, expected: TypeAdapter[T], request: Request, query: dict[str, str]) -> T:
        try:
            response = self._session.post(
                self._url,
                params=query,
                data=request.body,
                # The response then names each record's customer, so that nothing else is taken for success.
                headers={"Content-Type": "application/json", "Prefer": "return=representation"},
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                verify=self._ca_bundle,
                allow_redirects=False,
            )
        except (requests.RequestException, HTTPError) as error:
            raise _connection_error(error) from error
        except CREDENTIAL_ERRORS as error:
            raise SendError(f"The request could not be signed and sent: {credential_error(error)}") from error
        if response.status_code != HTTPStatus.OK:
            raise _refusal(request, response)
        try:
            return expected.validate_json(response.content)
        except ValidationError as error:
            message = (
                f"{self._url} answered 200, but not as the metering API does: check the URL, and whether the"
                " network wants you to log in first."
            )
            raise SendError(message) from error


def _known(request: Request, duplicates: list[Duplicate]) -> Known:
    known = {(one["customerIdentifier"], one["transaction_id"]): one["differs"] for one in duplicates}
    if known.keys() - {line.key for line in request.lines}:
        raise SendError("The API named duplicates that were not sent; report this.")
    return known


def credential_error(error: Exception) -> str:
    """Say why there are no credentials, without showing them: some errors quote them."""
    if isinstance(error, _NO_CREDENTIALS) and not isinstance(error, BotoCoreError):
        return "the AWS credentials, or what credential_process prints, are not valid."
    return printable(str(error), keep="\n")


def _connection_error(error: Exception) -> SendError:
    cause: object = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else cause
    if isinstance(error, requests.exceptions.ProxyError):
        return TransientError(
            "The proxy cannot be reached, or does not let you through: check HTTPS_PROXY and NO_PROXY."
        )
    if isinstance(error, requests.exceptions.SSLError):
        return _tls_error(reason)
    if isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError):
        return TransientError(
            "The API's host is not found or does not answer: check the URL and the network."
        )
    if isinstance(error, requests.ConnectionError | requests.Timeout | _CUT_OFF):
        return TransientError("The connection failed before an answer came.")
    # The error's text may show a proxy's password or a header.
    return SendError("The request cannot be sent: check the URL, HTTPS_PROXY and the API key.")


def _tls_error(reason: object) -> SendError:
    cause = reason.args[0] if isinstance(reason, HTTPError) and reason.args else reason
    if isinstance(cause, ssl.SSLCertVerificationError):
        return SendError(
            f"The API's certificate is not trusted ({cause.verify_message}). If your network has a"
            " certificate authority of its own, set AWS_CA_BUNDLE to its file."
        )
    return SendError(
        f"No TLS connection to the API ({cause}): check whether the URL begins with the right scheme, and"
        " AWS_CA_BUNDLE."
    )


def _refusal(request: Request, response: requests.Response) -> SendError | ProblemsError:
    """Return the error for an answer other than 200: a problem document (RFC 9457), or whatever else came."""
    try:
        problem = _PROBLEM.validate_json(response.content)
    except ValidationError:
        problem = {}
    try:
        violations = _VIOLATIONS.validate_python(problem.get("errors", []))
    except ValidationError:
        violations = []
    located = [found for one in violations if (found := request.problem(one)) is not None]
    if located and len(located) == len(violations):
        return ProblemsError(located)
    detail = problem.get("detail") or problem.get("title") or problem.get("message")
    detail = str(detail or response.text[:_MAX_SHOWN_CHARACTERS].strip() or response.reason)
    detail += "".join(f"\n  {one['pointer']}: {one['detail']}" for one in violations)
    if instance := problem.get("instance"):
        detail += f" (request id {instance})"
    message = printable(f"The API answered {response.status_code}: {detail}", keep="\n")
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= 500:
        return TransientError(message, _seconds(response.headers.get("Retry-After")))
    return SendError(message)


def _seconds(retry_after: str | None) -> float:
    """Parse ``Retry-After``, which has seconds or an HTTP date."""
    try:
        return Retry().parse_retry_after(retry_after or "0")
    except InvalidHeader:
        return 0
