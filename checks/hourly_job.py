"""What the quickstart's hourly job can bill, and the commands that give it room.

The figures are of its own code, run at the share of a CPU that Lambda gives (docs/quickstart.md).
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from checks.outcomes import SkippedError, WarnedError
from checks.target_account import TargetAccount

# The handlers of two functions: one sends a message for each customer with pending records, the other takes
# it, bills the customer, and marks each record.
_SENDER = "metering-hourly-job.job"
_BILLER = "metering-sqs.handler"
_QUEUE_URL = "SQSMeteringRecordsUrl"
"""Environment variable of the sender."""

_WHOLE_CPU_MB = 1769
"""Memory of a function with one CPU (AWS Lambda Developer Guide, "Configure Lambda function memory")."""
RECORD_CPU_SECONDS = 0.00076
"""To mark one record. Measured with 128 MB: 3.8 s for 400, 7.0 s for 600, 10.3 s for 1,000."""
_RECORDS_PER_MB = 8
"""1,000 took 109 MB in the release of June 2025, and 131 MB in that of August 2026."""
_CUSTOMER_CPU_SECONDS = 0.0013
_SEND_SECONDS = 0.007
"""Round trip of a message to the queue; they are sent one after the other."""
_ATTEMPTS = 3
"""Lambda repeats an asynchronous invocation twice (AWS Lambda Developer Guide, "Asynchronous invocation")."""
_PAGE_RECORDS = 6_100
"""Records of one dimension in the one page (1 MB) that the job reads an hour."""

# With these, the page is the only limit.
_MEMORY_MB = 1024
_TIMEOUT_SECONDS = 60
_TIMEOUTS_IN_VISIBILITY = 6
"""At least (AWS Lambda Developer Guide, "Creating and configuring an Amazon SQS event source mapping")."""
_SPARE_SECONDS = 40
_DEAD_LETTERS = "metering-dead-letters.fifo"
_JOB_RECORDS_PER_HOUR = 6_000
"""``params.job_records_per_hour`` of a job with room."""


class JobFunction(NamedTuple):
    """One of the job's two functions."""

    name: str
    memory_mb: int
    timeout_seconds: int
    variables: Mapping[str, str]

    @property
    def cpu_share(self) -> float:
        """Share of a CPU; JavaScript uses no more than one."""
        return min(1.0, self.memory_mb / _WHOLE_CPU_MB)

    def customer_records(self) -> int:
        """Return how many records of one customer the biller can mark before it is cut off."""
        in_time = self.timeout_seconds * self.cpu_share / RECORD_CPU_SECONDS
        return _rounded(min(in_time, self.memory_mb * _RECORDS_PER_MB))

    def customers(self) -> int:
        """Return how many customers' messages the sender can send in one attempt."""
        return _rounded(self.timeout_seconds / (_CUSTOMER_CPU_SECONDS / self.cpu_share + _SEND_SECONDS))


def _rounded(count: float) -> int:
    return min(int(count) // 100 * 100, _PAGE_RECORDS)


def check_hourly_job(target: TargetAccount) -> str:
    """Return what the job can bill in an hour; warn, with the commands, if it needs more room."""
    config, session = target.config, target.session
    functions = {}
    for page in session.client("lambda").get_paginator("list_functions").paginate():
        for found in page["Functions"]:
            variables = found.get("Environment", {}).get("Variables", {})
            if (
                found.get("Handler") in {_SENDER, _BILLER}
                and config.metering_table_name in variables.values()
            ):
                functions[found["Handler"]] = JobFunction(
                    found["FunctionName"], found["MemorySize"], found["Timeout"], variables
                )
    if functions.keys() != {_SENDER, _BILLER} or _QUEUE_URL not in functions[_SENDER].variables:
        raise SkippedError(
            f"The quickstart's functions for the table {config.metering_table_name} are not in the account "
            f"{target.account_id} in {config.aws_region_name}; docs/quickstart.md says what to look at."
        )
    sender, biller = functions[_SENDER], functions[_BILLER]
    url, sqs = sender.variables[_QUEUE_URL], session.client("sqs")
    queue: Mapping[str, str] = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    if "RedrivePolicy" in queue:
        until = f"up to {json.loads(queue['RedrivePolicy'])['maxReceiveCount']} times"
    else:
        until = f"for {int(queue['MessageRetentionPeriod']) // 60} minutes"
    customers = min(_ATTEMPTS * sender.customers(), _PAGE_RECORDS)
    capacity = (
        f"In an hour it can bill {biller.customer_records():,} records of one customer, {customers:,} "
        f"customers, and {_PAGE_RECORDS:,} records in all. With more of one customer it is cut off, repeated "
        f"every {queue['VisibilityTimeout']} s {until}, and may bill twice."
    )
    parameter = f"params.job_records_per_hour to {_JOB_RECORDS_PER_HOUR}"
    if commands := [
        *_queue_commands(url, queue, biller.timeout_seconds),
        *_function_commands(biller, sender),
    ]:
        lines = [f"{command} --region {config.aws_region_name}" for command in commands]
        raise WarnedError("\n    ".join([f"{capacity} Give it room, and set {parameter}:", *lines]))
    if config.job_records_per_hour != _JOB_RECORDS_PER_HOUR:
        return f"{capacity} Set {parameter}."
    return capacity


def _queue_commands(url: str, queue: Mapping[str, str], timeout_seconds: int) -> Iterator[str]:
    """Yield what to do before the functions: Lambda takes no timeout above the visibility timeout."""
    enough = _TIMEOUTS_IN_VISIBILITY * max(timeout_seconds, _TIMEOUT_SECONDS)
    attributes = {}
    if int(queue["VisibilityTimeout"]) < enough:
        attributes["VisibilityTimeout"] = str(enough + _SPARE_SECONDS)
    if "RedrivePolicy" not in queue:
        # Dead letters are kept for as long as SQS can, 14 days.
        yield (
            f"aws sqs create-queue --queue-name {_DEAD_LETTERS} "
            "--attributes FifoQueue=true,MessageRetentionPeriod=1209600"
        )
        arn = f"{queue['QueueArn'].rpartition(':')[0]}:{_DEAD_LETTERS}"
        attributes["RedrivePolicy"] = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": 3})
    if attributes:
        value = shlex.quote(json.dumps(attributes))
        yield f"aws sqs set-queue-attributes --queue-url {url} --attributes {value}"


def _function_commands(*functions: JobFunction) -> Iterator[str]:
    for function in functions:
        memory_mb = max(function.memory_mb, _MEMORY_MB)
        timeout_seconds = max(function.timeout_seconds, _TIMEOUT_SECONDS)
        if (memory_mb, timeout_seconds) != (function.memory_mb, function.timeout_seconds):
            yield (
                f"aws lambda update-function-configuration --function-name {function.name} "
                f"--memory-size {memory_mb} --timeout {timeout_seconds}"
            )
