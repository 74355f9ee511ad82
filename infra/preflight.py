"""``python -m infra.preflight``: whether this account can be deployed to, said in a sentence if it cannot."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from infra.config import Config

_BOOTSTRAP_VERSION = "/cdk-bootstrap/hnb659fds/version"
"""The parameter that ``cdk bootstrap`` leaves (AWS CDK, default synthesizer)."""
_CONTEXT_FILE = Path(__file__).parents[1] / "cdk.context.json"


class NotReadyError(Exception):
    """The account cannot be deployed to; the message says what to do."""


def check() -> None:
    """Check configuration, credentials and bootstrap.

    Raises
    ------
    NotReadyError
        If something is missing.
    """
    try:
        config = Config.from_context(json.loads(_CONTEXT_FILE.read_text()).get("params"))
    except (OSError, ValueError) as error:
        raise NotReadyError(str(error)) from error
    region = config.aws_region_name
    session = boto3.Session(region_name=region)
    try:
        if session.get_credentials() is None:
            raise NotReadyError(
                "No AWS credentials were found. Log in (aws login, aws sso login), or set AWS_PROFILE."
            )
        account = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise NotReadyError(
            f"The AWS credentials were not accepted: {error} Log in again, or set AWS_PROFILE."
        ) from error
    try:
        session.client("ssm").get_parameter(Name=_BOOTSTRAP_VERSION)
    except session.client("ssm").exceptions.ParameterNotFound as error:
        raise NotReadyError(
            f"Account {account} is not prepared for the CDK in {region}. Do it once, with: "
            f"node_modules/.bin/cdk bootstrap aws://{account}/{region}"
        ) from error
    except (BotoCoreError, ClientError):
        # Who may deploy need not be allowed to read the parameter; the CDK will say what it lacks.
        return


if __name__ == "__main__":
    try:
        check()
    except NotReadyError as not_ready:
        sys.exit(f"error: {not_ready}")
