"""Client of the API's bulk insert, which tells errors that may have stored records from those that cannot."""

from __future__ import annotations

import ssl
from http import HTTPStatus
from typing import TYPE_CHECKING

import requests
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import BotoCoreError
from pydantic import BaseModel, ValidationError
from requests.auth import AuthBase
from urllib3.exceptions import InvalidHeader, MaxRetryError, NewConnectionError
from urllib3.exceptions import SSLError as Urllib3SSLError
from urllib3.util import Retry

if TYPE_CHECKING:
    from botocore.credentials import Credentials

    from metering_cli.importing.usage_file import Part

_CONNECT_SECONDS = 10
_ANSWER_SECONDS = 60
"""API Gateway's own time-out is 29 s."""
_MAX_SHOWN_CHARACTERS = 500
_SIGNED_HEADERS = ("Content-Type", "Idempotency-Key", "Prefer")


class SendError(Exception):
    """A request failed; the message says why.

    Attributes
    ----------
    maybe_written : bool
        Whether some or all of its records may still be in the table.
    """

    def __init__(self, message: str, *, maybe_written: bool) -> None:
        super().__init__(message)
        self.maybe_written = maybe_written


class TransientError(SendError):
    """A request failed, and the same request may succeed later.

    Attributes
    ----------
    retry_after : float
        Seconds to wait before the next attempt, as asked by the API.
    """

    def __init__(self, message: str, *, maybe_written: bool, retry_after: float = 0) -> None:
        super().__init__(message, maybe_written=maybe_written)
        self.retry_after = retry_after


class _StoredKey(BaseModel):
    customerIdentifier: str  # noqa: N815 - the API's name
    create_timestamp: int


class _StoredKeys(BaseModel):
    """Body of a response to ``Prefer: return=representation``."""

    records: list[_StoredKey]


class ApiKey(AuthBase):
    """Authorization by an API key of API Gateway."""

    def __init__(self, key: str) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the key to a request."""
        request.headers["x-api-key"] = self._key
        return request


class SigV4(AuthBase):
    """Authorization by IAM: AWS Signature Version 4."""

    def __init__(self, credentials: Credentials, region: str) -> None:
        self._credentials = credentials
        self._region = region

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sign a request; credentials that are about to expire are refreshed first."""
        signed = AWSRequest(
            request.method,
            request.url,
            headers={name: request.headers[name] for name in _SIGNED_HEADERS},
            data=request.body,
        )
        credentials = self._credentials.get_frozen_credentials()
        SigV4Auth(credentials, "execute-api", self._region).add_auth(signed)
        request.headers.update(dict(signed.headers.items()))
        return request


class Client:
    """Client of the API's bulk insert.

    Parameters
    ----------
    api_url : str
        URL of the API's stage, without a trailing slash.
    auth : AuthBase
        Authorization of the requests.
    """

    def __init__(self, api_url: str, auth: AuthBase) -> None:
        self._url = f"{api_url}/insertMeteringRecords"
        self._session = requests.Session()
        self._session.auth = auth

    def insert(self, part: Part, key: str) -> bool:
        """Send one bulk request, without retries.

        Parameters
        ----------
        part : Part
            The request.
        key : str
            Its idempotency key.

        Returns
        -------
        bool
            Whether all its records were in the table before.

        Raises
        ------
        TransientError
            If the same request with the same key may succeed later.
        SendError
            If it cannot succeed until something is changed.
        """
        try:
            response = self._session.post(
                self._url,
                data=part.body,
                headers={
                    "Content-Type": "application/json",
                    "Idempotency-Key": key,
                    # The response then names each stored record, so that they can be counted.
                    "Prefer": "return=representation",
                },
                timeout=(_CONNECT_SECONDS, _ANSWER_SECONDS),
                allow_redirects=False,
            )
        except BotoCoreError as error:
            raise SendError(f"The request could not be signed: {error}", maybe_written=False) from error
        except requests.RequestException as error:
            raise _connection_error(error) from error
        if response.status_code == HTTPStatus.OK:
            return self._check_answer(response, part)
        status = f"The API answered {response.status_code}: {_explanation(response)}"
        if response.status_code == HTTPStatus.TOO_MANY_REQUESTS or response.status_code >= 500:
            raise TransientError(
                status,
                # Throttled requests do not reach the function; a server error may follow a successful write.
                maybe_written=response.status_code != HTTPStatus.TOO_MANY_REQUESTS,
                retry_after=_seconds(response.headers.get("Retry-After")),
            )
        raise SendError(status, maybe_written=False)

    def _check_answer(self, response: requests.Response, part: Part) -> bool:
        try:
            stored = _StoredKeys.model_validate_json(response.content)
        except ValidationError as error:
            message = f"{self._url} answered 200, but not as the metering API does; check the URL."
            raise SendError(message, maybe_written=True) from error
        if len(stored.records) != part.records:
            message = f"The API stored {len(stored.records)} records of {part.records}; report this."
            raise SendError(message, maybe_written=True)
        return response.headers.get("Idempotent-Replayed") == "true"


def _connection_error(error: requests.RequestException) -> SendError:
    cause = error.args[0] if error.args else None
    reason = cause.reason if isinstance(cause, MaxRetryError) else None
    if isinstance(reason, Urllib3SSLError) and isinstance(reason.args[0], ssl.SSLCertVerificationError):
        return SendError(f"The API's certificate is not trusted: {reason.args[0]}", maybe_written=False)
    if not isinstance(
        error, requests.ConnectionError | requests.Timeout | requests.exceptions.ChunkedEncodingError
    ):
        return SendError(f"The request cannot be sent: {error}", maybe_written=False)
    # With a proxy error, the request has not reached the API either.
    unreached = (requests.ConnectTimeout, requests.exceptions.ProxyError)
    if isinstance(error, unreached) or isinstance(reason, NewConnectionError):
        return TransientError(f"The API cannot be reached: {reason or error}.", maybe_written=False)
    return TransientError(f"The connection failed before an answer came: {error}.", maybe_written=True)


def _explanation(response: requests.Response) -> str:
    """Format a problem document (RFC 9457), or whatever else was received, for people."""
    try:
        problem: object = response.json()
    except requests.JSONDecodeError:
        problem = None
    if not isinstance(problem, dict):
        return response.text[:_MAX_SHOWN_CHARACTERS].strip() or response.reason
    detail = str(problem.get("detail") or problem.get("title") or problem.get("message") or response.reason)
    errors = problem.get("errors")
    if isinstance(errors, list):
        detail += "".join(
            f"\n  {error.get('pointer')}: {error.get('detail')}"
            for error in errors
            if isinstance(error, dict)
        )
    if instance := problem.get("instance"):
        detail += f" (request id {instance})"
    return detail


def _seconds(retry_after: str | None) -> float:
    """Parse ``Retry-After``, which has seconds or an HTTP date."""
    if retry_after is None:
        return 0
    try:
        return Retry().parse_retry_after(retry_after)
    except InvalidHeader:
        return 0
