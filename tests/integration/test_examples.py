"""The examples, run as their readers would run them, against the deployed API."""

import sys
import uuid
from pathlib import Path

import pytest
from werkzeug.wrappers import Request, Response

from tests.integration.http_calls import stored
from tests.integration.programs import output_of
from tests.serving import serving
from tools.example_requests import FOLDER
from tools.local_cloud.deploy import Api

CUSTOMER = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
COMMANDS: dict[str, list[str | Path]] = {
    "curl": [FOLDER / "insert.sh"],
    "python": [sys.executable, FOLDER / "insert.py"],
    "node": ["node", FOLDER / "insert.mjs"],
}


def test_the_examples_report_the_same_usage_once(api: Api) -> None:
    before = len(stored(api, CUSTOMER))
    hour = str(uuid.uuid4())

    for command in [*COMMANDS.values()] * 2:
        assert CUSTOMER in output_of(*command, hour, METERING_API_URL=api.api_url, **api.caller_variables)

    assert len(stored(api, CUSTOMER)) == before + 1


@pytest.mark.parametrize("program", COMMANDS)
def test_an_example_signs_each_attempt_when_it_is_sent(program: str) -> None:
    """A signature is valid for five minutes, and its time is in seconds; Retry-After asks for one."""
    signed_at: list[str] = []

    def busy_at_first(request: Request) -> Response:
        signed_at.append(request.headers["X-Amz-Date"])
        if len(signed_at) == 1:
            return Response('{"status": 503}', 503, {"Retry-After": "1"})
        return Response("{}")

    with serving(busy_at_first) as url:
        output_of(
            *COMMANDS[program],
            METERING_API_URL=url,
            AWS_REGION="us-east-1",
            AWS_ACCESS_KEY_ID="test",
            AWS_SECRET_ACCESS_KEY="test",  # noqa: S106 - opens nothing
            NO_PROXY="127.0.0.1",
        )

    first, second = signed_at
    assert first < second
