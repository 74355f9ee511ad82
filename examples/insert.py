"""Report two buyers' usage from Python, and list what is stored of one.

Needs botocore (``pip install "botocore[crt]"``; crt is for the credentials of ``aws login``).
``METERING_API_URL`` is the API's URL, as the deployment prints it; credentials and region come from the usual
AWS settings.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
from datetime import UTC, datetime

import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.session import Session

# Since all entries have a transaction_id, it is safe to send a request again: also a POST, and also after a
# time-out, when it is not known whether the usage is stored.
ATTEMPTS = 8
RETRIED_STATUSES = (429, 500, 502, 503, 504)
MAX_BACKOFF_SECONDS = 30


class MeteringApi:
    """The API, called with signed requests."""

    def __init__(self, url: str) -> None:
        session = Session()
        self._url = url.rstrip("/")
        credentials = session.get_credentials()
        if credentials is None:
            sys.exit("No AWS credentials were found.")
        self._credentials = credentials
        # botocore by itself reads AWS_DEFAULT_REGION only.
        self._region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
        if self._region is None:
            sys.exit("No AWS region was found: set AWS_REGION.")
        self._http = urllib3.PoolManager(timeout=urllib3.Timeout(connect=5, read=35), retries=False)

    def insert(self, buyers: list[dict[str, object]]) -> list[dict[str, object]]:
        """Report usage, once for each ``transaction_id``; return the entries that were known."""
        return self._call("POST", "/insertMeteringRecords", {"buyers": buyers}).get("duplicates", [])

    def pending(self, customer_identifier: str) -> list[dict[str, object]]:
        """Return a customer's records that the hourly job has not billed yet."""
        page = self._call("GET", f"/listMeteringRecords/{customer_identifier}?status=pending")
        return list(page["records"])

    def _call(self, method: str, path: str, payload: object = None) -> dict[str, list[dict[str, object]]]:
        body = None if payload is None else json.dumps(payload)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._send(method, path, body)
            except urllib3.exceptions.HTTPError as error:
                failure, retry_after = str(error), 0.0
            else:
                if answer.status == 200:
                    return dict(json.loads(answer.data))
                # detail says what to do, errors what is wrong where, instance what to ask the operator about.
                failure = f"{answer.status} {answer.data.decode()}"
                if answer.status not in RETRIED_STATUSES:
                    sys.exit(failure)
                retry_after = urllib3.Retry().get_retry_after(answer) or 0.0
            if attempt < ATTEMPTS:
                backoff = min(MAX_BACKOFF_SECONDS, 0.5 * 2**attempt)
                time.sleep(retry_after + random.uniform(0, backoff))  # noqa: S311 - not used for security
        sys.exit(f"No success in {ATTEMPTS} attempts; the last: {failure}")

    def _send(self, method: str, path: str, body: str | None) -> urllib3.BaseHTTPResponse:
        # Signed again for each attempt: a signature is valid for five minutes, and retries may take longer.
        request = AWSRequest(method, self._url + path, data=body)
        request.headers["Content-Type"] = "application/json"
        SigV4Auth(self._credentials, "execute-api", self._region).add_auth(request)
        return self._http.request(method, self._url + path, body=body, headers=dict(request.headers.items()))


def main() -> None:
    """Report an hour's usage; run it as often as you like."""
    api = MeteringApi(os.environ["METERING_API_URL"])
    # An id for each buyer's hour: the usage is stored once, however often and in whatever company it is sent.
    transaction_id = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).strftime("%Y-%m-%dT%H")
    known = api.insert(
        [
            {
                "customerIdentifier": "ExWoL3vTir2",
                "transaction_id": transaction_id,
                "metered_dimensions": [{"dimension_name": "metered_1_id", "dimension_value": 10}],
            },
            {
                "customerIdentifier": "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345",
                "transaction_id": transaction_id,
                "metered_dimensions": [{"dimension_name": "metered_1_id", "dimension_value": 3}],
            },
        ]
    )
    for entry in known:
        if entry["differs"]:
            print(
                f"{entry['customerIdentifier']}: other usage is stored under this id, and counts.",
                file=sys.stderr,
            )
    print(json.dumps(api.pending("ExWoL3vTir2"), indent=2))


if __name__ == "__main__":
    main()
