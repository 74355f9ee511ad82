"""Report usage from Python: ``pip install requests requests-aws4auth "botocore[crt]"``.

``METERING_API_URL`` is the URL that the deployment printed; credentials and region are those of the AWS CLI.
"""

import json
import os
import random
import sys
import time
from datetime import UTC, datetime

import requests
from botocore.session import Session
from requests_aws4auth import AWS4Auth

ATTEMPTS = 8
RETRIED = {429, 500, 502, 503, 504}


class UsageError(Exception):
    """Usage that may not be stored; the message says why."""


def report_usage(buyers: list[dict[str, object]]) -> list[dict[str, object]]:
    """Store usage, each entry once for its ``transaction_id``, and return the entries that were known before.

    Because of the ids it is safe to repeat, even if nobody knows whether the usage was stored.
    """
    session = Session()
    region = os.environ.get("AWS_REGION") or session.get_config_variable("region")
    # Signs each attempt when it is sent: a signature is valid for five minutes, and retries may take longer.
    auth = AWS4Auth(refreshable_credentials=session.get_credentials(), region=region, service="execute-api")
    url = os.environ["METERING_API_URL"].rstrip("/") + "/insertMeteringRecords"
    body = json.dumps({"buyers": buyers}).encode()
    for attempt in range(1, ATTEMPTS + 1):
        retry_after = 0
        try:
            answer = requests.post(
                url, data=body, headers={"Content-Type": "application/json"}, auth=auth, timeout=(5, 35)
            )
        except requests.RequestException as error:
            failure = str(error)
        else:
            if answer.ok:
                return list(answer.json().get("duplicates", []))
            failure = explained(answer)
            if answer.status_code not in RETRIED:
                break
            retry_after = int(answer.headers.get("Retry-After", 0))
        if attempt < ATTEMPTS:
            time.sleep(retry_after + random.uniform(0, min(30, 2**attempt / 2)))  # noqa: S311 - not a secret
    raise UsageError(failure)


def explained(answer: requests.Response) -> str:
    """Return what a problem document says: what to do, the request's id, and what is wrong where."""
    if "json" not in answer.headers.get("Content-Type", ""):
        return f"{answer.status_code} {answer.text}"
    problem = answer.json()
    lines = [f"{answer.status_code} {problem.get('detail')} ({problem.get('instance')})"]
    lines += [f"{error['pointer']}: {error['detail']}" for error in problem.get("errors", [])]
    return "\n".join(lines)


if __name__ == "__main__":
    hour = sys.argv[1] if len(sys.argv) > 1 else datetime.now(UTC).strftime("%Y-%m-%dT%H")
    customer = "arn:aws:license-manager::123456789012:license/lic-EXAMPLE12345"
    usage = [
        {"dimension_name": "metered_1_id", "dimension_value": 10},
        {"dimension_name": "metered_3_id", "dimension_value": 20},
    ]
    known = report_usage(
        [{"customerIdentifier": customer, "transaction_id": hour, "metered_dimensions": usage}]
    )
    # An entry that "differs" was sent before with other usage, which counts.
    print(json.dumps({"customer": customer, "transaction_id": hour, "known_before": known}))
