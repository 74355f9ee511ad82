"""Check that the metering table is the quickstart's, and say what to do if it is not."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from botocore.config import Config as BotoConfig
from botocore.exceptions import BotoCoreError, ClientError

from metering_handlers.contract.attributes import PARTITION_KEY, PENDING_INDEX, PENDING_INDEX_KEY, SORT_KEY

if TYPE_CHECKING:
    import boto3
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import TableDescriptionTypeDef

    from infra.config import Config

_QUICK = BotoConfig(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 1})


def metering_table_problem(session: boto3.Session, config: Config) -> str | None:
    """Say what is wrong with the metering table.

    Parameters
    ----------
    session : Session
        Credentials and region of the deployment.
    config : Config
        The checked parameters.

    Returns
    -------
    str | None
        A sentence that says what to do; None if nothing is wrong.

    Raises
    ------
    ClientError
        If the credentials may not describe the table.
    BotoCoreError
        If DynamoDB cannot be reached.
    """
    name, region = config.metering_table_name, config.aws_region_name
    client = session.client("dynamodb")
    try:
        table = client.describe_table(TableName=name)["Table"]
    except client.exceptions.ResourceNotFoundException:
        elsewhere = _regions_with(session, name, besides=region)
        if elsewhere:
            return (
                f"The metering table {name} is in {', '.join(elsewhere)} and not in {region}: set "
                "params.aws_region_name in cdk.context.json to its region."
            )
        return (
            f"There is no table {name} in {region}. Deploy the AWS Marketplace SaaS quickstart first, or set "
            "params.metering_table_name to the name its stack gave the table; in a sandbox without the "
            "quickstart, set params.create_metering_table to true."
        )
    return _schema_problem(table, name) or _key_problem(session, table, config)


def _schema_problem(table: TableDescriptionTypeDef, name: str) -> str | None:
    types = {
        attribute["AttributeName"]: attribute["AttributeType"] for attribute in table["AttributeDefinitions"]
    }
    keys = [(key["AttributeName"], types[key["AttributeName"]]) for key in table["KeySchema"]]
    if keys != [PARTITION_KEY, SORT_KEY]:
        return (
            f"The table {name} has the keys {_in_words(*keys)}, not {_in_words(PARTITION_KEY, SORT_KEY)}, so "
            "it is not the quickstart's. Correct params.metering_table_name."
        )
    has_index = any(
        index["IndexName"] == PENDING_INDEX
        and PENDING_INDEX_KEY[0] in {key["AttributeName"] for key in index["KeySchema"]}
        and index["Projection"].get("ProjectionType") == "ALL"
        for index in table.get("GlobalSecondaryIndexes", [])
    )
    if has_index:
        return None
    return (
        f"The table {name} has no index {PENDING_INDEX} with the key {_in_words(PENDING_INDEX_KEY)} and all "
        "attributes projected. The quickstart's job finds pending records by it, so nothing would be billed. "
        "Create it, or deploy the quickstart again."
    )


def _in_words(*keys: tuple[str, str]) -> str:
    return " and ".join(f"{name} ({type_code})" for name, type_code in keys)


def _key_problem(session: boto3.Session, table: TableDescriptionTypeDef, config: Config) -> str | None:
    key_arn = table.get("SSEDescription", {}).get("KMSMasterKeyArn")
    if key_arn is None or key_arn == config.metering_table_kms_key_arn:
        return None
    try:
        manager = session.client("kms").describe_key(KeyId=key_arn)["KeyMetadata"]["KeyManager"]
    except (BotoCoreError, ClientError):
        return None
    if manager == "AWS":
        return None
    return (
        f"The table {config.metering_table_name} is encrypted with the customer managed key {key_arn}, which "
        f'the functions may not use yet: set params.metering_table_kms_key_arn to "{key_arn}".'
    )


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
