"""The functions of the API: module, route, memory, and permissions on the tables."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

METRICS_NAMESPACE = "MarketplaceMetering"
"""CloudWatch namespace of the metrics that the functions emit."""
CUSTOMER = "{customerIdentifier+}"
"""The path parameter. Greedy, because a License ARN has a slash."""
_BATCH_GET_ITEM = "dynamodb:BatchGetItem"
_PUT_ITEM = "dynamodb:PutItem"


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

    @property
    def inserts(self) -> bool:
        """Whether the function writes records."""
        return _PUT_ITEM in self.table_actions[Table.METERING]


# TransactWriteItems needs the permissions of its actions, which are puts ("Using IAM with DynamoDB
# transactions", Amazon DynamoDB Developer Guide).
_INSERT_ACTIONS = {
    Table.METERING: (_PUT_ITEM,),
    Table.IDEMPOTENCY: (_PUT_ITEM, _BATCH_GET_ITEM),
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
    ),
    FunctionSpec(
        name="ListMeteringRecords",
        module="list_metering_records",
        method="GET",
        path=f"listMeteringRecords/{CUSTOMER}",
        description="Lists a customer's records and whether they were billed.",
        label="list",
        memory_mb=512,
        table_actions={Table.METERING: ("dynamodb:Query",), Table.IDEMPOTENCY: (_BATCH_GET_ITEM,)},
        slow_seconds=5,
    ),
)
