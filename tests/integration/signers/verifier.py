"""A check of signatures as AWS documents them.

An implementation of its own, since the local cloud accepts more than API Gateway does: it encodes the path
once more, and sorts and encodes the query. Source of the rules:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from functools import reduce
from urllib.parse import quote, unquote

from werkzeug.wrappers import Request, Response

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - of AWS's documentation
REGION = "us-east-1"
SERVICE = "execute-api"
ALGORITHM = "AWS4-HMAC-SHA256"


def verify(request: Request) -> Response:
    """Answer 200 if a request is signed as AWS requires, else 403."""
    return Response(status=200 if is_signed(request) else 403)


def is_signed(request: Request) -> bool:
    authorization = request.headers.get("Authorization", "")
    if not authorization.startswith(ALGORITHM):
        return False
    fields = dict(field.strip().split("=", 1) for field in authorization.removeprefix(ALGORITHM).split(","))
    access_key_id, _, scope = fields["Credential"].partition("/")
    time = request.headers["X-Amz-Date"]
    digest = hashlib.sha256(canonical_request(request, fields["SignedHeaders"]).encode()).hexdigest()
    key = reduce(mac, scope.split("/"), f"AWS4{SECRET_ACCESS_KEY}".encode())
    signature = mac(key, "\n".join([ALGORITHM, time, scope, digest])).hex()
    expected_scope = f"{time[:8]}/{REGION}/{SERVICE}/aws4_request"
    return (access_key_id, scope, fields["Signature"]) == (ACCESS_KEY_ID, expected_scope, signature)


def canonical_request(request: Request, signed: str) -> str:
    path, _, query = request.environ["RAW_URI"].partition("?")
    parameters = [parameter.partition("=") for parameter in query.split("&") if parameter]
    encoded = sorted((encode(name), encode(value)) for name, _, value in parameters)
    return "\n".join(
        [
            request.method,
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in encoded),
            *(f"{name}:{' '.join(request.headers.get(name, '').split())}" for name in signed.split(";")),
            "",
            signed,
            hashlib.sha256(request.get_data()).hexdigest(),
        ]
    )


def encode(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
