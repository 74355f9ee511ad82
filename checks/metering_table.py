"""Check that the metering table is the quickstart's, and say what to do if it is not."""

from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError
from mypy_boto3_dynamodb import DynamoDBClient

from checks.outcomes import FailedError, WarnedError
from checks.target_account import TargetAccount
from metering_handlers.contract.attributes import PARTITION_KEY, PENDING_INDEX, PENDING_INDEX_KEY, SORT_KEY

_QUICK = BotoConfig(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})


def check_metering_table(target: TargetAccount) -> None:
    """Check region, keys, index and encryption."""
    session, config = target.session, target.config
    name, region = config.metering_table_name, config.aws_region_name
    client = session.client("dynamodb")
    try:
        table = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException as error:
        if elsewhere := _regions_with(session, name, besides=region):
            raise FailedError(
                f"The metering table {name} is in {', '.join(elsewhere)} and not in {region}: set "
                "params.aws_region_name in cdk.context.json to its region."
            ) from error
        raise FailedError(
            f"There is no table {name} in {region} of the AWS account {target.account_id}. Deploy the AWS "
            "Marketplace SaaS quickstart first, or set params.metering_table_name to the name its stack gave "
            "the table; in a sandbox without the quickstart, set params.create_metering_table to true."
        ) from error
    types = {each["AttributeName"]: each["AttributeType"] for each in table["AttributeDefinitions"]}
    keys = [(key["AttributeName"], types[key["AttributeName"]]) for key in table["KeySchema"]]
    if keys != [PARTITION_KEY, SORT_KEY]:
        raise FailedError(
            f"The table {name} has the keys {_in_words(*keys)}, not {_in_words(PARTITION_KEY, SORT_KEY)}, so "
            "it is not the quickstart's. Correct params.metering_table_name."
        )
    if not any(
        index["IndexName"] == PENDING_INDEX
        and PENDING_INDEX_KEY[0] in {key["AttributeName"] for key in index["KeySchema"]}
        and index["Projection"].get("ProjectionType") == "ALL"
        for index in table.get("GlobalSecondaryIndexes", [])
    ):
        raise FailedError(
            f"The table {name} has no index {PENDING_INDEX} with the key {_in_words(PENDING_INDEX_KEY)} and "
            "all attributes projected. The quickstart's job finds pending records by it, so nothing would be "
            "billed. Create it, or deploy the quickstart again."
        )
    key_arn = table.get("SSEDescription", {}).get("KMSMasterKeyArn")
    if key_arn and key_arn != config.metering_table_kms_key_arn and _is_customer_managed(session, key_arn):
        raise FailedError(
            f"The table {name} is encrypted with the customer managed key {key_arn}, which the functions may "
            f'not use yet: set params.metering_table_kms_key_arn to "{key_arn}".'
        )


def check_recovery(target: TargetAccount) -> None:
    """Warn if the table has neither point-in-time recovery nor deletion protection."""
    name, region = target.config.metering_table_name, target.config.aws_region_name
    client = target.session.client("dynamodb")
    backups = client.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    recovery = backups.get("PointInTimeRecoveryDescription", {}).get("PointInTimeRecoveryStatus")
    if recovery == "ENABLED" or client.describe_table(TableName=name)["Table"].get(
        "DeletionProtectionEnabled"
    ):
        return
    raise WarnedError(
        "It has neither point-in-time recovery nor deletion protection, and holds what you bill. Have both:"
        f"\n    aws dynamodb update-continuous-backups --table-name {name} --region {region} "
        "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
        f"\n    aws dynamodb update-table --table-name {name} --region {region} --deletion-protection-enabled"
    )


def _in_words(*keys: tuple[str, str]) -> str:
    return " and ".join(f"{name} ({type_code})" for name, type_code in keys)


def _is_customer_managed(session: boto3.Session, key_arn: str) -> bool:
    try:
        manager: str = session.client("kms").describe_key(KeyId=key_arn)["KeyMetadata"]["KeyManager"]
    except (BotoCoreError, ClientError):
        return False
    return manager == "CUSTOMER"


def _regions_with(session: boto3.Session, table_name: str, *, besides: str) -> list[str]:
    """List the other regions that have a table of that name; regions that do not answer are skipped."""

    def has_table(client: DynamoDBClient) -> bool:
        try:
            client.describe_table(TableName=table_name)
        except (BotoCoreError, ClientError):
            return False
        return True

    partition = session.get_partition_for_region(besides)
    regions = [region for region in session.get_available_regions("dynamodb", partition) if region != besides]
    # Clients may be used in threads, but not created there (Boto3 documentation, "Session reference").
    clients = [session.client("dynamodb", region_name=region, config=_QUICK) for region in regions]
    with ThreadPoolExecutor(8) as pool:
        return [region for region, found in zip(regions, pool.map(has_table, clients), strict=True) if found]
