"""Client of the API's bulk insert: its answers, and every failure as a sentence without secrets."""

import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TypeVar

import requests
from botocore.exceptions import BotoCoreError, ClientError
from pydantic import BaseModel, TypeAdapter, ValidationError
from urllib3.exceptions import HTTPError, InvalidHeader, MaxRetryError, NewConnectionError
from urllib3.util import Retry

from metering_cli.importing.bulk import Request
from metering_cli.importing.usage_file import ProblemsError
from metering_cli.wording import printable
from metering_handlers.contract.answers import DryRun, Duplicate, Inserted, Violation

Authorization = Callable[[requests.PreparedRequest], requests.PreparedRequest]
Known = dict[tuple[str, str], bool]

T = TypeVar("T")

PATIENCE_SECONDS = 180
"""Time for which one request is repeated before the program gives up."""
_NO_CREDENTIALS = (AttributeError, TypeError, ValueError)
"""What botocore raises where what credential_process prints is not what it should be."""
CREDENTIAL_ERRORS = (BotoCoreError, ClientError, OSError, *_NO_CREDENTIALS)
"""What botocore raises where credentials cannot be had."""

_MAX_BACKOFF_SECONDS = 30
_TIMEOUT_SECONDS = (10, 60)
"""To connect, and for the answer; API Gateway's own time-out is 29 s."""
_MAX_SHOWN_CHARACTERS = 500
_DRY_RUN = TypeAdapter(DryRun)
_INSERTED = TypeAdapter(Inserted)


class _Problem(BaseModel):
    """A problem document (RFC 9457), or API Gateway's message."""

    detail: str | None = None
    title: str | None = None
    message: str | None = None
    instance: str | None = None
    errors: list[Violation] = []


class SendError(Exception):
    """A request failed, and the message says why.

    The same request may succeed in ``retry_after`` seconds or later; None means never.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(repr=False)
class Client:
    """Client of the API's bulk insert. Repeats a request that may succeed later, for ``PATIENCE_SECONDS``.

    Its methods return the keys of the entries that were stored before, and whether their usage differs. They
    raise ProblemsError if the API refuses lines, and SendError if the request fails otherwise. ``notify`` is
    called with a message before a request is repeated. ``ca_bundle`` is a file or folder of trusted
    certificates; None stands for those of ``requests``.
    """

    api_url: str
    authorize: Authorization
    notify: Callable[[str], None]
    ca_bundle: str | None = None
    _session: requests.Session = field(default_factory=requests.Session, init=False)

    def check(self, request: Request) -> Known:
        """Let the API check a request; nothing is written."""
        answer = self._send(_DRY_RUN, request, dry_run="true")
        return _known(request, answer["duplicates"])

    def store(self, request: Request) -> Known:
        """Store a request."""
        answer = self._send(_INSERTED, request)
        known = _known(request, answer.get("duplicates", []))
        holders = {record["customerIdentifier"] for record in answer.get("records", [])}
        if missing := sum(line.key not in known and line.customer not in holders for line in request.lines):
            raise SendError(f"The API stored all but {missing} of {len(request.lines)} lines; report this.")
        return known

    def _send(self, expected: TypeAdapter[T], request: Request, **query: str) -> T:
        end = time.monotonic() + PATIENCE_SECONDS
        backoff = 1
        while True:
            try:
                return self._post(expected, request, query)
            except SendError as error:
                if error.retry_after is None or time.monotonic() + error.retry_after + backoff >= end:
                    raise
                pause = error.retry_after + backoff
                self.notify(f"{error} Trying again in {pause:.0f} s.")
            time.sleep(pause)
            backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)

    def _post(self, expected: TypeAdapter[T], request: Request, query: dict[str, str]) -> T:
        try:
            response = self._session.post(
                f"{self.api_url}/insertMeteringRecords",
                params=query,
                data=request.body,
                # The response then names each record's customer, so that nothing else is taken for success.
                headers={"Content-Type": "application/json", "Prefer": "return=representation"},
                # With one of its own, the session does not take an authorization from ~/.netrc.
                auth=self.authorize,
                timeout=_TIMEOUT_SECONDS,
                verify=self.ca_bundle,
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
                f"{self.api_url} answered 200, but not as the metering API does: check the URL, and whether"
                " the network wants you to log in first."
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
    retry_after: float | None = 0
    if isinstance(error, requests.exceptions.ProxyError):
        message = "The proxy cannot be reached, or does not let you through: check HTTPS_PROXY and NO_PROXY."
    elif isinstance(error, requests.exceptions.SSLError):
        retry_after = None
        tls = reason.args[0] if isinstance(reason, HTTPError) and reason.args else reason
        message = (
            f"The API's certificate is not trusted ({tls.verify_message}). If your network has a certificate"
            " authority of its own, set AWS_CA_BUNDLE to its file."
            if isinstance(tls, ssl.SSLCertVerificationError)
            else f"No TLS connection to the API ({tls}): check whether the URL begins with the right scheme,"
            " and AWS_CA_BUNDLE."
        )
    elif isinstance(error, requests.ConnectTimeout) or isinstance(reason, NewConnectionError):
        message = "The API's host is not found or does not answer: check the URL and the network."
    elif isinstance(error, ValueError):
        # The error's text may show a proxy's password or a header.
        retry_after, message = None, "The request cannot be sent: check the URL, HTTPS_PROXY and the API key."
    else:
        message = "The connection failed before an answer came."
    return SendError(message, retry_after)


def _refusal(request: Request, response: requests.Response) -> SendError | ProblemsError:
    """Return the error for an answer other than 200: a problem document, or whatever else came."""
    try:
        problem = _Problem.model_validate_json(response.content)
    except ValidationError:
        problem = _Problem()
    located = [found for one in problem.errors if (found := request.problem(one))]
    if located and len(located) == len(problem.errors):
        return ProblemsError(located)
    detail = problem.detail or problem.title or problem.message
    detail = detail or response.text[:_MAX_SHOWN_CHARACTERS].strip() or response.reason
    detail += "".join(f"\n  {one['pointer']}: {one['detail']}" for one in problem.errors)
    if problem.instance:
        detail += f" (request id {problem.instance})"
    message = printable(f"The API answered {response.status_code}: {detail}", keep="\n")
    if response.status_code != HTTPStatus.TOO_MANY_REQUESTS and response.status_code < 500:
        return SendError(message)
    try:
        # In seconds, or as an HTTP date.
        return SendError(message, Retry().parse_retry_after(response.headers.get("Retry-After", "0")))
    # The last two of a date beyond what datetime takes.
    except (InvalidHeader, ValueError, OverflowError):
        return SendError(message, retry_after=0)
