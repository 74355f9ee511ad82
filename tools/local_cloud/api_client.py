"""Signed HTTP requests to the deployed API."""

from collections.abc import Mapping

import requests
from requests_aws4auth import AWS4Auth

from tools.local_cloud.deploy import Api


def send(  # noqa: PLR0913 - the parts of a request
    api: Api,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str | bytes] | None = None,
    *,
    signed: bool = True,
    timeout_seconds: float = 60,
) -> requests.Response:
    """Send one request, signed by AWS Signature Version 4; a body is JSON unless the headers say otherwise.

    The path comes after the API's URL, percent-encoded, and may have a query. Valid escapes reach the API as
    they are; urllib3 escapes a percent sign that begins none, and ``requests`` resolves dot segments. Raises
    ``requests.RequestException`` if the API cannot be reached or does not answer in time.
    """
    fields: dict[str, str | bytes] = {} if body is None else {"Content-Type": "application/json"}
    if api.host:
        fields["Host"] = api.host
    signer = AWS4Auth(api.access_key_id, api.secret_access_key, api.region, "execute-api")
    with requests.Session() as session:
        # Without a signature none is wanted: not even one from ~/.netrc.
        session.trust_env = False
        return session.request(
            method,
            f"{api.api_url}{path}",
            data=body,
            headers=fields | dict(headers or {}),
            auth=signer if signed else None,
            timeout=timeout_seconds,
        )
