"""Deployment of the quickstart's table and of this app to the local cloud."""

import fcntl
import json
import os
import platform
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from infra.config import Config, ConfigError, read_context
from infra.ministack import CONTEXT_KEY
from tools.local_cloud.cloud import Cloud
from tools.local_cloud.steps import LOCAL, LOGS, PROJECT, StepError, run, step

API_FILE = LOCAL / "api.json"

_TABLE_FILE = Path(__file__).with_name("metering_table.json")
_CDK = PROJECT / "node_modules" / ".bin" / "cdk"
_ACCOUNT = "000000000000"


@dataclass(frozen=True)
class Api:
    """The deployed API, as written to ``.local/api.json``."""

    api_url: str
    """URL of the stage, without a slash at its end."""
    region: str
    metering_table: str
    aws_endpoint_url: str
    """Endpoint of the AWS APIs of this cloud."""
    stack_name: str
    access_key_id: str
    """Key of an IAM user who may call APIs and do nothing else: of its own key, MiniStack does not verify
    signatures."""
    secret_access_key: str
    host: str | None = None
    """Value of the Host header, if it is not the host of the URL."""

    @property
    def caller_variables(self) -> dict[str, str]:
        """The environment variables by which AWS tools sign as that user."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secret_access_key,
            "AWS_REGION": self.region,
        }


def read_config(**changes: object) -> Config:
    """Read ``cdk.context.json``, with some parameters changed; raises StepError if it is invalid."""
    try:
        params = read_context(PROJECT / "cdk.context.json").get("params")
        return Config.from_context(params | changes if isinstance(params, dict) else params)
    except (OSError, ConfigError) as error:
        raise StepError(f"The configuration cannot be used: {error}") from error


def deploy(cloud: Cloud, config: Config) -> Api:
    """Create the metering table, bootstrap the empty cloud, and deploy the app with the pinned CDK CLI.

    Raises StepError if the CLI fails.
    """
    name = config.metering_table_name
    if not config.create_metering_table:
        with step(f"Creating the table {name}, as the AWS Marketplace SaaS quickstart does"):
            # It is there at once.
            boto3.client("dynamodb").create_table(TableName=name, **json.loads(_TABLE_FILE.read_text()))
    with step("Preparing the local cloud for the CDK (cdk bootstrap)"):
        # Without an app, the CLI does not synthesize the stack for this.
        _cdk("bootstrap", f"aws://{_ACCOUNT}/{cloud.region}", "--app", "")
        # The bucket's policy requires TLS, which the local cloud does not have.
        boto3.client("s3").delete_bucket_policy(Bucket=f"cdk-hnb659fds-assets-{_ACCOUNT}-{cloud.region}")
    return deploy_stack(cloud, config)


def deploy_stack(cloud: Cloud, config: Config) -> Api:
    """Deploy the app's stack to a cloud that is bootstrapped and has the metering table, if it needs one.

    Raises StepError if the CDK CLI fails.
    """
    with step(f"Deploying the stack {config.stack_name} (cdk deploy)"):
        _cdk_on_stack("deploy", config, "--require-approval=never", "--import-existing-resources")
    api_id = stack_resources(config.stack_name)["AWS::ApiGateway::RestApi"][0]
    (stack,) = boto3.client("cloudformation").describe_stacks(StackName=config.stack_name)["Stacks"]
    outputs = {output["OutputKey"]: output["OutputValue"] for output in stack["Outputs"]}
    path = urlsplit(outputs["ApiUrl"]).path.rstrip("/")
    if config.domain is None:
        # The output is https://<api id>.execute-api.…/prod/, as on AWS; MiniStack has a path instead.
        path = f"/_aws/execute-api/{api_id}{path}"
    key_id, secret = _create_caller(api_id)
    return Api(
        api_url=f"{cloud.endpoint_url}{path}",
        host=config.domain.name if config.domain else None,
        region=cloud.region,
        metering_table=config.metering_table_name,
        aws_endpoint_url=cloud.endpoint_url,
        stack_name=config.stack_name,
        access_key_id=key_id,
        secret_access_key=secret,
    )


def destroy_stack(config: Config) -> None:
    """Delete the app's stack with the CDK CLI, as ``make destroy`` does; raises StepError if that fails."""
    with step(f"Deleting the stack {config.stack_name} (cdk destroy)"):
        _cdk_on_stack("destroy", config, "--force")


def stack_resources(stack_name: str) -> dict[str, list[str]]:
    """Return the physical ids of a stack's resources, by their CloudFormation types."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    stack = boto3.client("cloudformation").describe_stack_resources(StackName=stack_name)
    for resource in stack["StackResources"]:
        found[resource["ResourceType"]].append(resource["PhysicalResourceId"])
    return found


@contextmanager
def locked(name: str, refusal: str = "") -> Iterator[None]:
    """Hold a lock of this checkout, until this process ends at the latest, however it ends.

    Another process waits for it, or with a ``refusal`` raises StepError with that message.
    """
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (fcntl.LOCK_NB if refusal else 0))
        except BlockingIOError as error:
            raise StepError(refusal) from error
        yield


def _create_caller(api_id: str) -> tuple[str, str]:
    """Create an IAM user who may call APIs and do nothing else, and return its access key and secret."""
    iam = boto3.client("iam")
    name = f"caller-of-{api_id}"
    iam.create_user(UserName=name)
    # All APIs: MiniStack's wildcard within an ARN does not match paths with a line break.
    statement = {"Effect": "Allow", "Action": "execute-api:Invoke", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    iam.put_user_policy(UserName=name, PolicyName="call-the-api", PolicyDocument=policy)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def _cdk_on_stack(command: str, config: Config, *options: str) -> None:
    """Run the CDK CLI on the app's stack, whose bundle fits the local interpreter."""
    context = {
        "params": config.model_dump_json(exclude_unset=True),
        "bundling_platform": _wheel_platform(),
        "bundling_python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        CONTEXT_KEY: "true",
    }
    arguments = [f"--context={name}={value}" for name, value in context.items()]
    # Runs in one checkout share the cloud assembly, which only one CLI may write at a time.
    with locked("deploy.lock"):
        _cdk(command, config.stack_name, f"--output={LOCAL / 'cdk.out'}", *arguments, *options)


def _cdk(command: str, *arguments: str) -> None:
    # cdk.json runs python3, which has to be the interpreter of this environment.
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    run(
        [str(_CDK), command, *arguments, "--no-notices", "--no-color", "--ci"],
        log=LOGS / f"cdk-{command}.log",
        failure=f"cdk {command} failed.",
        env=os.environ | {"PATH": path},
    )


def _wheel_platform() -> str:
    """Return the pip platform of the interpreter that MiniStack, and so the functions, run under."""
    machine = platform.machine()
    if sys.platform == "darwin":
        return f"macosx_11_0_{machine}"
    if "musl" in (sysconfig.get_config_var("HOST_GNU_TYPE") or ""):
        return f"musllinux_1_1_{machine}"
    return f"manylinux2014_{machine}"
