"""The functions of the API: module, route, memory, and permissions on the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from infra.config import Config

METRICS_NAMESPACE = "MarketplaceMetering"
"""CloudWatch namespace of the metrics that the functions emit."""
CUSTOMER = "{customerIdentifier+}"
"""The path parameter. Greedy, because a License ARN has a slash."""
PUT_ITEM = "dynamodb:PutItem"
_BATCH_GET_ITEM = "dynamodb:BatchGetItem"
_QUERY = "dynamodb:Query"


class Table(StrEnum):
    """The tables; the value is the environment variable with the table's name."""

    METERING = "METERING_TABLE_NAME"
    IDEMPOTENCY = "IDEMPOTENCY_TABLE_NAME"
    SUBSCRIBERS = "SUBSCRIBERS_TABLE_NAME"
    """Only with ``params.subscribers_table_name``."""


@dataclass(frozen=True, kw_only=True)
class FunctionSpec:
    """One function and its route."""

    name: str
    """Construct id; the stack's outputs, alarms and runbook sections begin with it."""
    module: str
    """Module of ``metering_handlers`` with the ``lambda_handler``."""
    method: str
    path: str
    """Path of the route, without a leading slash."""
    description: str
    """Shown in the Lambda console."""
    label: str
    """Name in the dashboard's graphs."""
    memory_mb: int
    """Memory, and with it the share of a CPU (1,769 MB is one)."""
    table_actions: Mapping[Table, tuple[str, ...]]
    """The IAM actions that the function may do on each table of the deployment."""
    slow_seconds: int
    """p99 duration above which the function's *Slow* alarm goes off."""
    settings: Callable[[Config], Mapping[str, str]] = field(default=lambda _: {})
    """Environment variables beside the tables' names and the settings of Powertools."""


def _insert_settings(config: Config) -> Mapping[str, str]:
    return {
        "IDEMPOTENCY_HOURS": str(config.idempotency_hours),
        "TRANSACTION_ID_DAYS": str(config.transaction_id_days),
        "CUSTOMER_IDENTIFIERS": ",".join(config.customer_identifiers),
    }


# TransactWriteItems needs the permissions of its actions, which are puts ("Using IAM with DynamoDB
# transactions", Amazon DynamoDB Developer Guide).
_INSERT_ACTIONS = {
    Table.METERING: (PUT_ITEM,),
    Table.IDEMPOTENCY: (PUT_ITEM, _BATCH_GET_ITEM),
    Table.SUBSCRIBERS: (_BATCH_GET_ITEM,),
}

FUNCTIONS = (
    FunctionSpec(
        name="InsertMeteringRecord",
        module="insert_metering_record",
        method="POST",
        path=f"insertMeteringRecord/{CUSTOMER}",
        description="Stores one customer's usage.",
        label="insert one",
        memory_mb=512,
        table_actions=_INSERT_ACTIONS,
        slow_seconds=5,
        settings=_insert_settings,
    ),
    FunctionSpec(
        name="InsertMeteringRecords",
        module="insert_metering_records",
        method="POST",
        path="insertMeteringRecords",
        description="Stores many customers' usage.",
        label="insert many",
        memory_mb=1024,
        table_actions=_INSERT_ACTIONS,
        # 70 % of the function's 27 s: a slower bulk request may run out of time.
        slow_seconds=19,
        settings=_insert_settings,
    ),
    FunctionSpec(
        name="ListMeteringRecords",
        module="list_metering_records",
        method="GET",
        path=f"listMeteringRecords/{CUSTOMER}",
        description="Lists a customer's records and whether they were billed.",
        label="list",
        memory_mb=512,
        table_actions={Table.METERING: (_QUERY,), Table.IDEMPOTENCY: (_BATCH_GET_ITEM,)},
        slow_seconds=5,
    ),
)
