"""The quickstart's job, with the names and settings of its template."""

import io
import json
import zipfile

import boto3

TABLE = "AWSMarketplaceMeteringRecords"
QUEUE = "1a2b-SQSMeteringRecords.fifo"
SENDER, BILLER = "quickstart-Hourly-1A2B", "quickstart-MeteringSQSHandler-3C4D"


def create_job(memory_mb: int, timeout_seconds: int, visibility_seconds: int, *, table: str = TABLE) -> None:
    attributes = {"FifoQueue": "true", "MessageRetentionPeriod": "3000"}
    queue = boto3.client("sqs").create_queue(
        QueueName=QUEUE, Attributes=attributes | {"VisibilityTimeout": str(visibility_seconds)}
    )["QueueUrl"]
    role = boto3.client("iam").create_role(RoleName="role", AssumeRolePolicyDocument="{}")["Role"]["Arn"]
    code = io.BytesIO()
    zipfile.ZipFile(code, "w").close()
    for name, handler, further in (
        (SENDER, "metering-hourly-job.job", {"SQSMeteringRecordsUrl": queue}),
        (BILLER, "metering-sqs.handler", {"ProductCode": "code"}),
        ("quickstart-Entitlement", "entitlement-sqs.handler", {}),
    ):
        boto3.client("lambda").create_function(
            FunctionName=name,
            Runtime="nodejs22.x",
            Role=role,
            Handler=handler,
            Code={"ZipFile": code.getvalue()},
            MemorySize=memory_mb,
            Timeout=timeout_seconds,
            Environment={"Variables": {"AWSMarketplaceMeteringRecordsTableName": table, **further}},
        )


def give_room() -> None:
    """Do what the commands of ``make verify`` do."""
    sqs = boto3.client("sqs")
    dead_letters = sqs.create_queue(QueueName="dead.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]
    found = sqs.get_queue_attributes(QueueUrl=dead_letters, AttributeNames=["QueueArn"])["Attributes"]
    policy = json.dumps({"deadLetterTargetArn": found["QueueArn"], "maxReceiveCount": 3})
    sqs.set_queue_attributes(
        QueueUrl=sqs.get_queue_url(QueueName=QUEUE)["QueueUrl"],
        Attributes={"RedrivePolicy": policy, "VisibilityTimeout": "400"},
    )
    for name in (SENDER, BILLER):
        boto3.client("lambda").update_function_configuration(FunctionName=name, MemorySize=1024, Timeout=60)
