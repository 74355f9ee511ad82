"""``python -m checks.preflight deploy|diff|destroy``: find what the CDK CLI would not say, or not clearly.

The further arguments are those of the CDK CLI, so that profile and context are the ones that it will use.
"""

import hashlib
import sys
from collections.abc import Sequence
from contextlib import suppress

from botocore.exceptions import BotoCoreError, ClientError

from checks.metering_table import check_metering_table
from checks.outcomes import FailedError
from checks.target_account import TargetAccount, log_in


def check(command: str, arguments: Sequence[str]) -> None:
    """Check configuration and credentials and, unless the stack is to be deleted, what it will meet."""
    target = log_in(arguments)
    if command == "destroy":
        return
    # An identity that may deploy need not have the permissions to look.
    with suppress(BotoCoreError, ClientError):
        _check_account_role(target)
    if not target.config.create_metering_table:
        with suppress(BotoCoreError, ClientError):
            check_metering_table(target)


def _check_account_role(target: TargetAccount) -> None:
    """Do not replace another stack's role: API Gateway has one for all APIs of an account and region."""
    config = target.config
    role_arn = target.session.client("apigateway").get_account().get("cloudwatchRoleArn")
    if not role_arn or not config.set_api_gateway_account_role:
        return
    # The end of the role's name is the CDK's hash of its construct's path (Names.unique_resource_name).
    path = f"{config.stack_name}/Api/RestApi/CloudWatchRole"
    digest = hashlib.md5(path.encode(), usedforsecurity=False).hexdigest()[:8].upper()
    if not role_arn.endswith(f"-{digest}-{config.aws_region_name}"):
        raise FailedError(
            f"All APIs of the account {target.account_id} in {config.aws_region_name} write their logs with "
            f"the role {role_arn}. This stack would replace it; to keep it, set "
            "params.set_api_gateway_account_role to false in cdk.context.json."
        )


if __name__ == "__main__":
    try:
        check(sys.argv[1], sys.argv[2:])
    except FailedError as failure:
        sys.exit(f"error: {failure}")
