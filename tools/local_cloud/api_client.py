"""Signed HTTP requests to the API, sent without any normalization."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tools.local_cloud.deploy import Api


@dataclass(frozen=True)
class Response:
    """An HTTP response.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : dict of str to str
        The header fields, their names in lower case.
    body : bytes
        The body as it came.
    """

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        """Parse the body.

        Returns
        -------
        object
            The parsed JSON.

        Raises
        ------
        ValueError
            If the body is not JSON.
        """
        parsed: object = json.loads(self.body)
        return parsed


def send(  # noqa: PLR0913 - the parts of a request
    api: Api,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    *,
    signed: bool = True,
    timeout_seconds: float = 60,
) -> Response:
    """Send one request and return the response.

    ``http.client`` is used because it does not normalize percent-encoding in the path, as other clients do.

    Parameters
    ----------
    api : Api
        The deployed API.
    method : str
        The HTTP method.
    path : str
        Path and query below the API's URL, beginning with a slash, percent-encoded.
    body : bytes or None
        The body; its content type is JSON unless ``headers`` has another.
    headers : mapping of str to str or None
        Further header fields.
    signed : bool
        Whether to sign the request with Signature Version 4.
    timeout_seconds : float
        How long to wait for the answer.

    Returns
    -------
    Response
        The response, with any status.

    Raises
    ------
    OSError
        If the API cannot be reached or does not answer in time.
    """
    url = f"{api.api_url}{path}"
    request = AWSRequest(method, url, headers=dict(headers or {}), data=body)
    if body is not None and "Content-Type" not in request.headers:
        request.headers["Content-Type"] = "application/json"
    if api.host:
        request.headers["Host"] = api.host
    if signed:
        credentials = Credentials(api.access_key_id, api.secret_access_key)
        SigV4Auth(credentials, "execute-api", api.region).add_auth(request)
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.netloc, timeout=timeout_seconds)
    try:
        connection.request(method, url.partition(parts.netloc)[2], body, dict(request.headers.items()))
        answer = connection.getresponse()
        return Response(
            answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
        )
    finally:
        connection.close()
