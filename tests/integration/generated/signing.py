"""The signature of requests-aws4auth for HTTP libraries other than requests."""

import os

import requests
from requests_aws4auth import AWS4Auth


def signed_headers(method: str, url: str, body: bytes | None) -> dict[str, str]:
    """Return the headers that make this request a signed one."""
    key, secret, region = (
        os.environ[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "REGION")
    )
    auth = AWS4Auth(key, secret, region, "execute-api")
    headers = {"Content-Type": "application/json"} if body else {}
    signed = requests.Request(method, url, headers, data=body, auth=auth).prepare()
    return {name: str(value) for name, value in signed.headers.items()}
