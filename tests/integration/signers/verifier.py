"""A server that checks signatures as AWS documents them.

An implementation of its own, since the local cloud accepts more than API Gateway does: it encodes the path
once more, and sorts and encodes the query. Source of the rules:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

import hashlib
import hmac
from email.message import Message
from functools import reduce
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import quote, unquote

ACCESS_KEY_ID = "AKIDEXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"  # noqa: S105 - of AWS's documentation
REGION = "us-east-1"
SERVICE = "execute-api"
ALGORITHM = "AWS4-HMAC-SHA256"


def canonical_request(method: str, target: str, headers: Message, signed: str, body: bytes) -> str:
    path, _, query = target.partition("?")
    parameters = [parameter.partition("=") for parameter in query.split("&") if parameter]
    encoded = sorted((encode(name), encode(value)) for name, _, value in parameters)
    return "\n".join(
        [
            method,
            quote(path, safe="/-_.~"),
            "&".join(f"{name}={value}" for name, value in encoded),
            *(f"{name}:{' '.join(headers.get(name, '').split())}" for name in signed.split(";")),
            "",
            signed,
            hashlib.sha256(body).hexdigest(),
        ]
    )


def encode(text: str) -> str:
    return quote(unquote(text), safe="-_.~")


def is_signed(method: str, target: str, headers: Message, body: bytes) -> bool:
    authorization = headers.get("Authorization", "")
    if not authorization.startswith(ALGORITHM):
        return False
    fields = dict(field.strip().split("=", 1) for field in authorization.removeprefix(ALGORITHM).split(","))
    access_key_id, _, scope = fields["Credential"].partition("/")
    digest = hashlib.sha256(
        canonical_request(method, target, headers, fields["SignedHeaders"], body).encode()
    ).hexdigest()
    key = reduce(mac, scope.split("/"), f"AWS4{SECRET_ACCESS_KEY}".encode())
    signature = mac(key, "\n".join([ALGORITHM, headers["X-Amz-Date"], scope, digest])).hex()
    expected_scope = f"{headers['X-Amz-Date'][:8]}/{REGION}/{SERVICE}/aws4_request"
    return (access_key_id, scope, fields["Signature"]) == (ACCESS_KEY_ID, expected_scope, signature)


def mac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")


class Verifier(ThreadingHTTPServer):
    """Answers 200 if a request is signed as AWS requires, else 403."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), VerifierHandler)


class VerifierHandler(BaseHTTPRequestHandler):
    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        accepted = is_signed(self.command, self.path, self.headers, body)
        self.send_response(200 if accepted else 403)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_POST = answer  # noqa: N815 - the base class's names

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Do not log requests."""
