"""``python -m checks.verify``: check a deployment from outside, without writing a billable record.

The arguments are those of the CDK CLI that say what was deployed where (``--profile``, ``--context``). The
API's URL is the stack's output, unless ``METERING_API_URL`` names another.
"""

from __future__ import annotations

import json
import socket
import ssl
import sys
import time
import uuid
import warnings
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from checks.deployment import Deployment, FailedError, expect, members
from checks.metering_table import metering_table_problem
from checks.target_account import TargetAccount
from infra.config import Authorization, LogLevel
from infra.functions import FUNCTIONS, Table
from metering_handlers.contract.problem_types import ProblemType

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_LOG_SECONDS = 30
"""How long CloudWatch Logs may take to show a line; usually a few seconds."""
_LOG_POLL_SECONDS = 1
_CLOCK_SKEW_SECONDS = 300
_CONNECT_SECONDS = 5
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation"}
"""Error codes for missing permissions; they differ between services."""


class SkippedError(Exception):
    """A check is not possible here; the message says why."""


def main(arguments: Sequence[str]) -> int:
    """Run all checks and print a line for each.

    Parameters
    ----------
    arguments : Sequence[str]
        Arguments of the CDK CLI.

    Returns
    -------
    int
        Exit status: 0 if no check failed.
    """
    try:
        deployment = Deployment.find(TargetAccount.from_arguments(arguments))
    except (FailedError, OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except (BotoCoreError, ClientError) as error:
        reason = str(error).rstrip(".")
        print(f'error: {reason}. Log in, or name a profile: ARGS="--profile NAME".', file=sys.stderr)
        return 1
    print(f"Verifying {deployment.target.config.stack_name} at {deployment.api_url}")
    failed = skipped = 0
    for title, check in _CHECKS:
        try:
            _run(check, deployment)
            print(f"✓ {title}", flush=True)
        except SkippedError as reason:
            skipped += 1
            print(f"- {title}: skipped. {reason}", flush=True)
        except FailedError as problem:
            failed += 1
            print(f"✗ {title}: {problem}", flush=True)
    passed = len(_CHECKS) - failed - skipped
    print(f"{passed} passed, {skipped} skipped, {failed} failed.")
    return 1 if failed else 0


def _run(check: Callable[[Deployment], None], deployment: Deployment) -> None:
    try:
        check(deployment)
    except ClientError as error:
        if error.response["Error"]["Code"] in _DENIED:
            raise SkippedError(f"Your credentials may not look at this: {error}") from error
        raise FailedError(str(error)) from error
    except BotoCoreError as error:
        raise FailedError(str(error)) from error


def _check_table(deployment: Deployment) -> None:
    problem = metering_table_problem(deployment.target.session, deployment.target.config)
    if problem:
        raise FailedError(problem)


def _check_permissions(deployment: Deployment) -> None:
    """Simulate the permissions of each function: a real insert would be billed."""
    session = deployment.target.session
    names = {
        Table.METERING: deployment.target.config.metering_table_name,
        Table.IDEMPOTENCY: deployment.physical_id("AWS::DynamoDB::Table", "IdempotencyTable"),
    }
    arns = {
        table: session.client("dynamodb").describe_table(TableName=name)["Table"]["TableArn"]
        for table, name in names.items()
    }
    for spec in FUNCTIONS:
        name = deployment.physical_id("AWS::Lambda::Function", f"{spec.name}Function")
        role = session.client("lambda").get_function_configuration(FunctionName=name)["Role"]
        for table, actions in spec.table_actions.items():
            results = session.client("iam").simulate_principal_policy(
                PolicySourceArn=role, ActionNames=[*actions], ResourceArns=[arns[table]]
            )["EvaluationResults"]
            for result in results:
                if result["EvalDecision"] != "allowed":
                    raise FailedError(
                        f"{role} may not do {result['EvalActionName']} on {arns[table]} "
                        f"({result['EvalDecision']}). Deploy again (make deploy); if that does not help, ask "
                        "who sets your organization's policies."
                    )


def _check_unauthorized_call(deployment: Deployment) -> None:
    if deployment.target.config.authorization is Authorization.NONE:
        raise SkippedError('params.authorization is "NONE": the network decides who may call.')
    response = deployment.send("GET", f"/listMeteringRecords/{_new_customer()}", authorized=False)
    expect(response, HTTPStatus.FORBIDDEN, ProblemType.FORBIDDEN)


def _check_list(deployment: Deployment) -> None:
    if deployment.list_records(_new_customer()):
        raise FailedError("A customer that does not exist has records; report this.")


def _check_license_arn(deployment: Deployment) -> None:
    arn = f"arn:aws:license-manager::123456789012:license/{_new_customer()}"
    if deployment.list_records(quote(arn, safe="")):
        raise FailedError("A customer that does not exist has records; report this.")


def _check_bad_bodies(deployment: Deployment) -> None:
    customer = _new_customer()
    entry: dict[str, object] = {"metered_dimensions": []}
    for path, payload in (
        (f"/insertMeteringRecord/{customer}", entry),
        ("/insertMeteringRecords", {"buyers": [{"customerIdentifier": customer, **entry}]}),
    ):
        response = deployment.send("POST", path, payload)
        expect(response, HTTPStatus.UNPROCESSABLE_ENTITY, ProblemType.INVALID_REQUEST)
    if deployment.list_records(customer):
        raise FailedError("An insert was refused, and yet it wrote a record; report this.")


def _check_log(deployment: Deployment) -> None:
    if deployment.target.config.log_level is not LogLevel.INFO:
        raise SkippedError(
            f'params.log_level is "{deployment.target.config.log_level}": requests leave no line.'
        )
    response = deployment.send("POST", f"/insertMeteringRecord/{_new_customer()}", {"metered_dimensions": []})
    expect(response, HTTPStatus.UNPROCESSABLE_ENTITY, ProblemType.INVALID_REQUEST)
    request_id = str(members(response).get("instance"))
    group = deployment.physical_id("AWS::Logs::LogGroup", "InsertMeteringRecordLogs")
    search = deployment.target.session.client("logs").get_paginator("filter_log_events")
    since = int((time.time() - _CLOCK_SKEW_SECONDS) * 1000)
    deadline = time.monotonic() + _LOG_SECONDS
    while True:
        # A page may be empty though others follow it (CloudWatch Logs API reference, FilterLogEvents).
        pages = search.paginate(logGroupName=group, filterPattern=f'"{request_id}"', startTime=since)
        events = (event for page in pages for event in page["events"])
        if any(_correlation_id(event["message"]) == request_id for event in events):
            return
        if time.monotonic() > deadline:
            raise FailedError(
                f"No line with the request id {request_id} came within {_LOG_SECONDS} s. May the function's "
                f"role write to the log group {group}?"
            )
        time.sleep(_LOG_POLL_SECONDS)


def _correlation_id(message: str) -> object:
    try:
        line: object = json.loads(message)
    except ValueError:
        return None
    return line.get("correlation_id") if isinstance(line, dict) else None


def _check_alarms(deployment: Deployment) -> None:
    names = sorted(deployment.resources.get("AWS::CloudWatch::Alarm", {}).values())
    if not names:
        raise FailedError("The stack has no alarms. Deploy again (make deploy).")
    cloudwatch = deployment.target.session.client("cloudwatch")
    pages = cloudwatch.get_paginator("describe_alarms").paginate(AlarmNames=names)
    states = {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}
    if missing := [name for name in names if name not in states]:
        raise FailedError(f"Alarms are gone: {', '.join(missing)}. Delete the stack and deploy again.")
    if ringing := [name for name, state in states.items() if state == "ALARM"]:
        raise FailedError(f"In ALARM: {', '.join(ringing)}. See docs/operations.md.")


def _check_old_tls(deployment: Deployment) -> None:
    url = urlsplit(deployment.api_url)
    if url.scheme != "https" or url.hostname is None:
        raise SkippedError("The API's URL is not https.")
    if _accepts_tls_1_1(url.hostname, url.port or 443):
        raise FailedError(
            f"{url.hostname} accepts TLS 1.1. Deploy again (make deploy), which sets the security policy; a "
            "change of it takes 15 minutes."
        )


def _accepts_tls_1_1(host: str, port: int) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # only the version counts: nothing is sent
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    # OpenSSL 3 offers TLS 1.1 on its lowest security level only (SSL_CTX_set_security_level(3)).
    context.set_ciphers("ALL:@SECLEVEL=0")
    try:
        with (
            socket.create_connection((host, port), timeout=_CONNECT_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host),
        ):
            return True
    except ssl.SSLError as error:
        if error.reason == "NO_PROTOCOLS_AVAILABLE":
            raise SkippedError("This machine's OpenSSL does not speak TLS 1.1 itself.") from error
        return False
    except ConnectionResetError:
        return False
    except OSError as error:
        raise FailedError(f"{host} cannot be reached: {error}") from error


def _check_insert(deployment: Deployment) -> None:
    if not deployment.target.config.create_metering_table:
        raise SkippedError("A real record would be billed; this is for sandboxes (create_metering_table).")
    customer = _new_customer()
    path, key = f"/insertMeteringRecord/{customer}", {"Idempotency-Key": customer}
    dimension = next(iter(deployment.target.config.dimensions), "verify")
    usage = {"metered_dimensions": [{"dimension_name": dimension, "dimension_value": 1}]}
    payload = {"transaction_id": customer} | usage
    first, by_key, by_id = (deployment.send("POST", path, payload, headers) for headers in (key, key, {}))
    for response in (first, by_key, by_id):
        expect(response, HTTPStatus.OK)
    if by_key.headers.get("Idempotent-Replayed") != "true":
        raise FailedError("A repeat with the same Idempotency-Key did not answer as a replay; report this.")
    if "duplicates" in members(first) or "duplicates" not in members(by_id):
        raise FailedError("A repeat with the same transaction_id did not name the duplicate; report this.")
    stored = deployment.list_records(customer)
    if len(stored) != 1 or deployment.list_records(customer, f"?transaction_id={customer}") != stored:
        raise FailedError("An insert and its repeats did not result in one record; report this.")


_CHECKS: tuple[tuple[str, Callable[[Deployment], None]], ...] = (
    ("The metering table has the quickstart's keys and index, in this region", _check_table),
    ("The functions may do what they need on the tables", _check_permissions),
    ("A call without authorization is refused with a problem", _check_unauthorized_call),
    ("A customer that does not exist has an empty list", _check_list),
    ("A percent-encoded License ARN in a path is understood", _check_license_arn),
    ("Inserts with bad bodies are refused, and nothing is written", _check_bad_bodies),
    ("A request's log line is found by its id", _check_log),
    ("All alarms are there, and none is in ALARM", _check_alarms),
    ("TLS 1.1 is refused", _check_old_tls),
    ("An insert and its repeat write one record", _check_insert),
)


def _new_customer() -> str:
    return f"verify-{uuid.uuid4()}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
