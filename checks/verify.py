"""``python -m checks.verify``: check a deployment from outside, without writing a billable record.

The arguments are those of the CDK CLI that say what was deployed where (``--profile``, ``--context``). The
API's URL is the stack's output, unless ``METERING_API_URL`` names another.
"""

import socket
import ssl
import sys
import uuid
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import JsonValue

from checks.deployment import Deployment, as_it_is, find_deployment, members
from checks.hourly_job import check_hourly_job
from checks.log_lines import LOG_SECONDS, find_log_line
from checks.metering_table import check_metering_table, check_recovery
from checks.outcomes import FailedError, SkippedError, WarnedError
from checks.target_account import log_in
from infra.config import Authorization, LogLevel
from infra.functions import FUNCTIONS, Table
from metering_handlers.contract.identifiers import IdentifierKind
from metering_handlers.contract.problem_types import ProblemType

Check = Callable[[Deployment], str | None]

_DENIED = ("AccessDenied", "Unauthorized")
"""One of them is in an error code for missing permissions; the codes differ between services."""


def main(arguments: Sequence[str]) -> int:
    """Run all checks, print a line for each, and return the exit code: 0 if none failed."""
    try:
        deployment = find_deployment(log_in(arguments))
    except (FailedError, BotoCoreError, ClientError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"Verifying {deployment.config.stack_name} at {deployment.api_url}")
    signs: Counter[str] = Counter()
    for title, check in CHECKS.items():
        sign, text = _run(check, deployment)
        print(f"{sign} {title}{text and f': {text}'}", flush=True)
        signs[sign] += 1
    print(f"{signs['✓']} passed, {signs['!']} with a warning, {signs['-']} skipped, {signs['✗']} failed.")
    return 1 if signs["✗"] else 0


def _run(check: Check, deployment: Deployment) -> tuple[str, str]:
    """Return the sign of the outcome, and what is to be said of it."""
    try:
        return "✓", check(deployment) or ""
    except WarnedError as warning:
        return "!", str(warning)
    except SkippedError as reason:
        return "-", f"skipped. {reason}"
    except (FailedError, BotoCoreError, ClientError) as error:
        code = error.response["Error"]["Code"] if isinstance(error, ClientError) else ""
        if any(word in code for word in _DENIED):
            return "-", f"skipped. Your credentials may not look at this: {error}"
        return "✗", str(error)


def _check_permissions(deployment: Deployment) -> None:
    """Simulate the permissions of each function: a real insert would be billed."""
    session, config = deployment.session, deployment.config
    names = {
        Table.METERING: config.metering_table_name,
        Table.IDEMPOTENCY: deployment.physical_id("AWS::DynamoDB::Table", "IdempotencyTable"),
        Table.SUBSCRIBERS: config.subscribers_table_name,
    }
    arns = {
        table: session.client("dynamodb").describe_table(TableName=name)["Table"]["TableArn"]
        for table, name in names.items()
        if name
    }
    for spec in FUNCTIONS:
        function = deployment.physical_id("AWS::Lambda::Function", f"{spec.name}Function")
        role = session.client("lambda").get_function_configuration(FunctionName=function)["Role"]
        for table, actions in spec.table_actions.items():
            if table not in arns:
                continue
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
    if deployment.config.authorization is Authorization.NONE:
        raise SkippedError('params.authorization is "NONE": the network decides who may call.')
    path = f"/listMeteringRecords/{_new_customer()}"
    refused, problem = HTTPStatus.FORBIDDEN, ProblemType.FORBIDDEN
    deployment.call("GET", path, authorize=as_it_is, expected=refused, problem=problem)


def _check_lists(deployment: Deployment) -> None:
    for kind in IdentifierKind:
        if deployment.list_records(quote(_new_customer(kind), safe="")):
            raise FailedError("A customer that does not exist has records; report this.")


def _insert_nothing(deployment: Deployment, path: str, body: JsonValue) -> str:
    """Send a body without dimensions, which has to be refused; return the request id."""
    refused, problem = HTTPStatus.UNPROCESSABLE_ENTITY, ProblemType.INVALID_REQUEST
    return str(
        members(deployment.call("POST", path, body, expected=refused, problem=problem)).get("instance")
    )


def _check_bad_bodies(deployment: Deployment) -> None:
    customer = _new_customer()
    nothing: dict[str, JsonValue] = {"metered_dimensions": []}
    _insert_nothing(deployment, f"/insertMeteringRecord/{customer}", nothing)
    buyer = nothing | {"customerIdentifier": customer}
    _insert_nothing(deployment, "/insertMeteringRecords", {"buyers": [buyer]})
    if deployment.list_records(customer):
        raise FailedError("An insert was refused, and yet it wrote a record; report this.")


def _check_log(deployment: Deployment) -> None:
    if deployment.config.log_level is not LogLevel.INFO:
        raise SkippedError(f'params.log_level is "{deployment.config.log_level}": requests leave no line.')
    path = f"/insertMeteringRecord/{_new_customer()}"
    request_id = _insert_nothing(deployment, path, {"metered_dimensions": []})
    group = deployment.physical_id("AWS::Logs::LogGroup", "InsertMeteringRecordLogs")
    if find_log_line(deployment.session.client("logs"), [group], request_id) is None:
        raise FailedError(
            f"No line with the request id {request_id} came within {LOG_SECONDS} s. May the function's role "
            f"write to the log group {group}?"
        )


def _check_alarms(deployment: Deployment) -> None:
    names = sorted(deployment.resources.get("AWS::CloudWatch::Alarm", {}).values())
    if not names:
        raise FailedError("The stack has no alarms. Deploy again (make deploy).")
    pages = (
        deployment.session.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNames=names)
    )
    states = {alarm["AlarmName"]: alarm["StateValue"] for page in pages for alarm in page["MetricAlarms"]}
    if missing := [name for name in names if name not in states]:
        raise FailedError(f"Alarms are gone: {', '.join(missing)}. Delete the stack and deploy again.")
    if ringing := [name for name, state in states.items() if state == "ALARM"]:
        raise FailedError(f"In ALARM: {', '.join(ringing)}. See docs/operations.md.")


def _check_old_tls(deployment: Deployment) -> None:
    url = urlsplit(deployment.api_url)
    if url.scheme != "https" or url.hostname is None:
        raise SkippedError("The API's URL is not https.")
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
            socket.create_connection((url.hostname, url.port or 443), timeout=5) as connection,
            context.wrap_socket(connection, server_hostname=url.hostname),
        ):
            pass
    except ssl.SSLError as error:
        if error.reason == "NO_PROTOCOLS_AVAILABLE":
            raise SkippedError("This machine's OpenSSL does not speak TLS 1.1 itself.") from error
    except ConnectionResetError:
        pass
    except OSError as error:
        raise FailedError(f"{url.hostname} cannot be reached: {error}") from error
    else:
        raise FailedError(
            f"{url.hostname} accepts TLS 1.1. Deploy again (make deploy), which sets the security policy; a "
            "change of it takes 15 minutes."
        )


def _check_insert(deployment: Deployment) -> None:
    config = deployment.config
    if not config.create_metering_table:
        raise SkippedError("A real record would be billed; this is for sandboxes (create_metering_table).")
    if config.subscribers_table_name:
        raise SkippedError(f"The table {config.subscribers_table_name} decides who may have usage.")
    customer = quote(_new_customer(config.customer_identifiers[0]), safe="")
    new_id = str(uuid.uuid4())
    dimension = next(iter(config.dimensions), "verify")
    entry: JsonValue = {
        "transaction_id": new_id,
        "metered_dimensions": [{"dimension_name": dimension, "dimension_value": 1}],
    }
    first, by_key, by_id = (
        deployment.call("POST", f"/insertMeteringRecord/{customer}", entry, headers=headers)
        for headers in ({"Idempotency-Key": new_id}, {"Idempotency-Key": new_id}, {})
    )
    if by_key.headers.get("Idempotent-Replayed") != "true":
        raise FailedError("A repeat with the same Idempotency-Key did not answer as a replay; report this.")
    if "duplicates" in members(first) or "duplicates" not in members(by_id):
        raise FailedError("A repeat with the same transaction_id did not name the duplicate; report this.")
    stored = deployment.list_records(customer)
    if len(stored) != 1 or deployment.list_records(customer, f"?transaction_id={new_id}") != stored:
        raise FailedError("An insert and its repeats did not result in one record; report this.")


def _new_customer(kind: IdentifierKind = IdentifierKind.LEGACY) -> str:
    new = uuid.uuid4()
    return {
        IdentifierKind.LEGACY: f"verify-{new}",
        IdentifierKind.ACCOUNT_ID: f"{new.int % 10**12:012}",
        IdentifierKind.LICENSE_ARN: f"arn:aws:license-manager::123456789012:license/verify-{new}",
    }[kind]


CHECKS: dict[str, Check] = {
    "The metering table has the quickstart's keys and index, in this region": check_metering_table,
    "The metering table survives a mistake": check_recovery,
    "The hourly job has room": check_hourly_job,
    "The functions may do what they need on the tables": _check_permissions,
    "A call without authorization is refused with a problem": _check_unauthorized_call,
    "Customers that do not exist have empty lists, License ARNs too": _check_lists,
    "Inserts with bad bodies are refused, and nothing is written": _check_bad_bodies,
    "A request's log line is found by its id": _check_log,
    "All alarms are there, and none is in ALARM": _check_alarms,
    "TLS 1.1 is refused": _check_old_tls,
    "An insert and its repeat write one record": _check_insert,
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
