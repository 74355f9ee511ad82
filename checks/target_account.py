"""Account, region and configuration of a ``cdk deploy``, from its own arguments."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from checks.outcomes import FailedError
from infra.config import Config, ConfigError, read_context

_CONTEXT_FILE = Path(__file__).parents[1] / "cdk.context.json"


@dataclass(frozen=True)
class TargetAccount:
    """Account and region, as a session with credentials, and the configuration to deploy."""

    session: boto3.Session
    """Its region is the configuration's, as in ``app.py``."""
    config: Config
    account_id: str


def log_in(arguments: Sequence[str]) -> TargetAccount:
    """Read ``--profile``, ``--region`` and ``--context`` as the CDK CLI does, and log in."""
    parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
    parser.add_argument("--profile")
    parser.add_argument("--region")
    parser.add_argument("-c", "--context", action="append", default=[])
    known, _ = parser.parse_known_args(arguments)
    try:
        config = Config.from_context(read_context(_CONTEXT_FILE, known.context).get("params"))
    except (OSError, ConfigError) as error:
        raise FailedError(str(error)) from error
    if known.region not in {None, config.aws_region_name}:
        raise FailedError(
            f"--region {known.region} has no effect: the CDK deploys to params.aws_region_name, which is "
            f"{config.aws_region_name}. Change that instead."
        )
    try:
        session = boto3.Session(profile_name=known.profile, region_name=config.aws_region_name)
        account_id = session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        # The CDK CLI says no more than "Unable to resolve AWS account to use", after the synthesis.
        raise FailedError(
            f"{str(error).rstrip('.')}. Log in (aws login, aws sso login), or name a profile: "
            'ARGS="--profile NAME", or AWS_PROFILE.'
        ) from error
    return TargetAccount(session, config, account_id)
