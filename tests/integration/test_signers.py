"""Which signers work with which form of a request: the table of docs/api.md."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import requests
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.crt.auth import CrtSigV4Auth
from requests_aws4auth import AWS4Auth

from tests.integration.programs import output_of
from tests.integration.signers.verifier import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY, SERVICE, verify
from tests.serving import serving
from tools.local_cloud.steps import PROJECT

Send = Callable[[str, str, str | None], bool]

ARN = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
LIST = "/prod/listMeteringRecords/"
FORMS: dict[str, tuple[str, str, str | None]] = {
    "bulk": ("POST", "/prod/insertMeteringRecords", '{"buyers": []}'),
    "ARN": ("GET", LIST + ARN, None),
    "encoded ARN": ("GET", LIST + quote(ARN, safe=""), None),
    "encoded": ("GET", f"{LIST}123456789012?from=2026-11-01&to=2026-11-30T23%3A59%3A59.999", None),
    "unsorted": ("GET", f"{LIST}123456789012?status=pending&limit=10", None),
    "plus": ("GET", f"{LIST}123456789012?from=2026-11-01T00%3A00%3A00%2B02%3A00", None),
    "colon": ("GET", f"{LIST}123456789012?to=2026-11-30T23:59:59.999", None),
}
# The words of the table, for each combination of forms that work.
PATHS = {"ARN, encoded ARN": "any", "ARN": "as it is, not encoded", "": "no"}
QUERIES = {
    "encoded, unsorted, plus, colon": "any",
    "encoded, unsorted, colon": "any without `%2B`",
    "encoded, unsorted, plus": "encoded",
    "encoded, plus": "in alphabetical order, encoded",
}
CURL_VERSIONS = {
    (8, 19): "curl 8.19 and newer",
    (8, 14): "curl 8.14 to 8.18",
    (8, 9): "curl 8.9 to 8.13",
    (8, 3): "curl 8.3 to 8.8",
    (0, 0): "curl before 8.3",
}
CREDENTIALS = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)
VARIABLES = {
    "AWS_ACCESS_KEY_ID": ACCESS_KEY_ID,
    "AWS_SECRET_ACCESS_KEY": SECRET_ACCESS_KEY,
    "AWS_REGION": REGION,
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    with serving(verify) as url:
        yield url


def documented(client: str) -> tuple[str, str]:
    """Return the two cells of the table for a client, or for the table's name of a version of curl."""
    rows = re.findall(
        r"^\| (.*) \| (.*) \| (.*) \|$", (PROJECT / "docs" / "api.md").read_text(), re.MULTILINE
    )
    (cells,) = [(path, query) for names, path, query in rows if client in re.split(r"[,;] | \(", names)]
    return cells


def words(accepted: dict[str, bool]) -> tuple[str, str]:
    """Say in the table's words what works. Bulk inserts work with every signer."""
    assert accepted["bulk"]
    path, query = (
        ", ".join(form for form in forms if accepted[form])
        for forms in (("ARN", "encoded ARN"), ("encoded", "unsorted", "plus", "colon"))
    )
    return PATHS[path], QUERIES[query]


def with_requests(method: str, url: str, body: str | None) -> bool:
    auth = AWS4Auth(ACCESS_KEY_ID, SECRET_ACCESS_KEY, REGION, SERVICE)
    return requests.request(method, url, data=body, auth=auth, timeout=10).ok


def with_botocore(signer: type[SigV4Auth | CrtSigV4Auth]) -> Send:
    def send(method: str, url: str, body: str | None) -> bool:
        request = AWSRequest(method, url, data=body)
        signer(CREDENTIALS, SERVICE, REGION).add_auth(request)
        answer = urllib3.request(method, url, body=body, headers=dict(request.headers.items()))
        return answer.status == 200

    return send


def with_curl(method: str, url: str, body: str | None) -> bool:
    return (
        output_of(
            *("curl", "--silent", "--output", os.devnull, "--write-out", "%{http_code}", "--request", method),
            *("--aws-sigv4", f"aws:amz:{REGION}:{SERVICE}", "--user", f"{ACCESS_KEY_ID}:{SECRET_ACCESS_KEY}"),
            *(("--data", body) if body else ()),
            url,
            NO_PROXY="127.0.0.1",
        )
        == "200"
    )


@pytest.mark.parametrize(
    ("client", "send"),
    [
        ("requests-aws4auth", with_requests),
        ("botocore's `SigV4Auth`", with_botocore(SigV4Auth)),
        ("awscrt", with_botocore(CrtSigV4Auth)),
        pytest.param(
            "curl", with_curl, marks=pytest.mark.skipif(shutil.which("curl") is None, reason="no curl")
        ),
    ],
)
def test_signers_of_this_machine(client: str, send: Send, url: str) -> None:
    if client == "curl":
        major, minor = re.findall(r"\d+", output_of("curl", "--version"))[:2]
        client = next(row for since, row in CURL_VERSIONS.items() if (int(major), int(minor)) >= since)

    accepted = {form: send(method, url + path, body) for form, (method, path, body) in FORMS.items()}

    assert words(accepted) == documented(client)


def test_signers_of_node(url: str, tmp_path: Path) -> None:
    (tmp_path / "node_modules").symlink_to(PROJECT / "tools" / "node_modules")
    program = shutil.copy(Path(__file__).parent / "signers" / "sign.mjs", tmp_path)
    calls = {form: (method, url + path, body) for form, (method, path, body) in FORMS.items()}

    results = json.loads(output_of("node", program, json.dumps(calls), **VARIABLES))

    for client in ("aws4", "aws4fetch"):
        assert words(results[client]) == documented(client)
