"""Deployment of the quickstart's table and of this app to the local cloud."""

from __future__ import annotations

import fcntl
import json
import os
import platform
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

import boto3

from infra.config import Config, ConfigError, read_context
from infra.ministack import CONTEXT_KEY
from tools.local_cloud.cloud import Cloud
from tools.local_cloud.steps import LOCAL, LOGS, PROJECT, StepError, run, shown, step

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
    """Read ``cdk.context.json``, with some parameters changed.

    Raises
    ------
    StepError
        If it is invalid.
    """
    try:
        params = read_context(PROJECT / "cdk.context.json").get("params")
        return Config.from_context(params | changes if isinstance(params, dict) else params)
    except (OSError, ConfigError) as error:
        raise StepError(f"The configuration cannot be used: {error}") from error


def deploy(cloud: Cloud, config: Config) -> Api:
    """Create the metering table, bootstrap the empty cloud, and deploy the app with the pinned CDK CLI.

    Raises
    ------
    StepError
        If one of the steps fails.
    """
    if not config.create_metering_table:
        with step(
            f"Creating the table {config.metering_table_name}, as the AWS Marketplace SaaS quickstart does"
        ):
            _create_table(config.metering_table_name)
    with step("Preparing the local cloud for the CDK (cdk bootstrap)"):
        # Without an app, the CLI does not synthesize the stack for this.
        _cdk("bootstrap", f"aws://{_ACCOUNT}/{cloud.region}", "--app", "")
        # The bucket's policy requires TLS, which the local cloud does not have.
        boto3.client("s3").delete_bucket_policy(Bucket=f"cdk-hnb659fds-assets-{_ACCOUNT}-{cloud.region}")
    return deploy_stack(cloud, config)


def deploy_stack(cloud: Cloud, config: Config) -> Api:
    """Deploy the app's stack to a cloud that is bootstrapped and has the metering table, if it needs one.

    Raises
    ------
    StepError
        If the CDK CLI fails.
    """
    with step(f"Deploying the stack {config.stack_name} (cdk deploy)"), _one_at_a_time():
        outputs = _cdk_deploy(config)
    api_id = stack_resources(config.stack_name)["AWS::ApiGateway::RestApi"][0]
    access_key_id, secret_access_key = _create_caller(api_id)
    path = urlsplit(outputs["ApiUrl"]).path.rstrip("/")
    if config.domain is None:
        # The output is https://<api id>.execute-api.…/prod/, as on AWS; MiniStack has a path instead.
        path = f"/_aws/execute-api/{api_id}{path}"
    return Api(
        api_url=f"{cloud.endpoint_url}{path}",
        host=config.domain.name if config.domain else None,
        region=cloud.region,
        metering_table=config.metering_table_name,
        aws_endpoint_url=cloud.endpoint_url,
        stack_name=config.stack_name,
        access_key_id=access_key_id,
        secret_access_key=secret_access_key,
    )


def destroy_stack(config: Config) -> None:
    """Delete the app's stack with the CDK CLI, as ``make destroy`` does.

    Raises
    ------
    StepError
        If the CDK CLI fails.
    """
    with step(f"Deleting the stack {config.stack_name} (cdk destroy)"), _one_at_a_time():
        _cdk("destroy", "--force", config.stack_name, *_app_arguments(config))


def stack_resources(stack_name: str) -> dict[str, list[str]]:
    """Return the physical ids of a stack's resources, by their CloudFormation types."""
    found: defaultdict[str, list[str]] = defaultdict(list)
    stack = boto3.client("cloudformation").describe_stack_resources(StackName=stack_name)
    for resource in stack["StackResources"]:
        found[resource["ResourceType"]].append(resource["PhysicalResourceId"])
    return found


@contextmanager
def only_api_up() -> Iterator[None]:
    """Reserve ``.local/api.json`` of this checkout, until this process ends, however it ends.

    Raises
    ------
    StepError
        If another process has reserved it.
    """
    LOCAL.mkdir(exist_ok=True)
    with (LOCAL / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StepError(
                "make local is already running in this checkout. Use that one "
                f"(once it is up, {shown(API_FILE)} has its URL), or stop it with Ctrl-C first."
            ) from error
        yield


@contextmanager
def api_file(api: Api) -> Iterator[None]:
    """Keep ``.local/api.json`` for as long as the API is up."""
    partial = API_FILE.with_suffix(".partial")
    partial.write_text(json.dumps(asdict(api), indent=2) + "\n")
    partial.replace(API_FILE)
    try:
        yield
    finally:
        API_FILE.unlink(missing_ok=True)


def _create_table(name: str) -> None:
    definition = json.loads(_TABLE_FILE.read_text())
    dynamodb = boto3.client("dynamodb")
    dynamodb.create_table(TableName=name, **definition)
    dynamodb.get_waiter("table_exists").wait(TableName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


def _create_caller(api_id: str) -> tuple[str, str]:
    """Create an IAM user who may call APIs and do nothing else, and return its access key and secret."""
    iam = boto3.client("iam")
    name = f"caller-of-{api_id}"
    iam.create_user(UserName=name)
    statement = {
        "Effect": "Allow",
        "Action": "execute-api:Invoke",
        # All APIs: MiniStack's wildcard within an ARN does not match paths with a line break.
        "Resource": "*",
    }
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    iam.put_user_policy(UserName=name, PolicyName="call-the-api", PolicyDocument=json.dumps(policy))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    # Runs in one checkout share the cloud assembly, which only one CLI may write at a time.
    with (LOCAL / "deploy.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cdk_deploy(config: Config) -> dict[str, str]:
    """Deploy the stack and return its outputs."""
    outputs_file = LOCAL / "outputs.json"
    _cdk(
        "deploy",
        config.stack_name,
        "--require-approval=never",
        "--import-existing-resources",
        f"--outputs-file={outputs_file}",
        *_app_arguments(config),
    )
    outputs: dict[str, str] = json.loads(outputs_file.read_text())[config.stack_name]
    return outputs


def _app_arguments(config: Config) -> list[str]:
    """Return the CLI's arguments for output and context, so that bundles fit the local interpreter."""
    context = {
        "params": config.model_dump_json(exclude_unset=True),
        "bundling_platform": _wheel_platform(),
        "bundling_python_version": f"{sys.version_info.major}.{sys.version_info.minor}",
        CONTEXT_KEY: "true",
    }
    return [
        f"--output={LOCAL / 'cdk.out'}",
        *(f"--context={name}={value}" for name, value in context.items()),
    ]


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
