"""``python -m checks.preflight deploy|diff|destroy``: check the account before the CDK CLI is run.

The further arguments are those of the CDK CLI, so that profile and context are the ones that it will use.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from checks.metering_table import metering_table_problem
from checks.target_account import DEFAULT_QUALIFIER, TargetAccount

if TYPE_CHECKING:
    from collections.abc import Sequence


class NotReadyError(Exception):
    """The CDK CLI would fail, or would deploy what cannot work; the message says what to do."""


def check(command: str, arguments: Sequence[str]) -> None:
    """Check configuration, credentials, bootstrap and, unless the stack is to be deleted, the metering table.

    Checks for which the credentials lack permissions are skipped.

    Parameters
    ----------
    command : str
        The command of the CDK CLI: ``deploy``, ``diff`` or ``destroy``.
    arguments : Sequence[str]
        Its arguments.

    Raises
    ------
    NotReadyError
        If something is missing or wrong.
    """
    try:
        target = TargetAccount.from_arguments(arguments)
    except (OSError, ValueError) as error:
        raise NotReadyError(str(error)) from error
    except BotoCoreError as error:
        raise NotReadyError(f"{error}. Name a profile of your AWS configuration.") from error
    account = _account_id(target)
    _check_bootstrap(target, account)
    if command != "destroy" and not target.config.create_metering_table:
        _check_metering_table(target, account)


def _account_id(target: TargetAccount) -> str:
    try:
        if target.session.get_credentials() is None:
            raise NotReadyError(
                "No AWS credentials were found. Log in (aws login, aws sso login), or name a profile: "
                'ARGS="--profile NAME", or AWS_PROFILE.'
            )
        account: str = target.session.client("sts").get_caller_identity()["Account"]
    except (BotoCoreError, ClientError) as error:
        raise NotReadyError(
            f"The AWS credentials were not accepted: {str(error).rstrip('.')}. Log in again, or name another "
            'profile: ARGS="--profile NAME", or AWS_PROFILE.'
        ) from error
    return account


def _check_bootstrap(target: TargetAccount, account: str) -> None:
    ssm = target.session.client("ssm")
    try:
        # What cdk bootstrap leaves (AWS CDK, DefaultStackSynthesizer).
        ssm.get_parameter(Name=f"/cdk-bootstrap/{target.bootstrap_qualifier}/version")
    except ssm.exceptions.ParameterNotFound as error:
        region = target.config.aws_region_name
        profile = f" --profile {target.profile}" if target.profile else ""
        qualifier = target.bootstrap_qualifier
        qualified = "" if qualifier == DEFAULT_QUALIFIER else f" --qualifier {qualifier}"
        raise NotReadyError(
            f"Account {account} is not prepared for the CDK in {region}. Do it once, with: "
            f"node_modules/.bin/cdk bootstrap aws://{account}/{region}{profile}{qualified}"
        ) from error
    except (BotoCoreError, ClientError):
        # An identity that may deploy need not have this permission; the CDK reports what is missing.
        return


def _check_metering_table(target: TargetAccount, account: str) -> None:
    try:
        problem = metering_table_problem(target.session, target.config)
    except (BotoCoreError, ClientError):
        # An identity that may deploy need not have this permission.
        return
    if problem:
        raise NotReadyError(f"{problem} (AWS account {account})")


if __name__ == "__main__":
    try:
        check(sys.argv[1], sys.argv[2:])
    except NotReadyError as not_ready:
        sys.exit(f"error: {not_ready}")
