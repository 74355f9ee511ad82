"""Names and bounds of a deployment, which the command reads too."""

DEFAULT_STACK_NAME = "cdk-apigw-marketplace-metering-records"
MIN_TRANSACTION_ID_DAYS = 35
"""Smallest ``transaction_id_days`` that can be configured."""


def idempotency_table_name(stack_name: str) -> str:
    """Return the name of a stack's idempotency table."""
    return f"{stack_name}-idempotency"
