"""A usage file's columns and their rules: what ``metering import`` reads and ``metering report`` writes."""

from pydantic import BaseModel, ConfigDict

from metering_handlers.contract.identifiers import (
    CustomerIdentifier,
    DimensionName,
    OptionalTransactionId,
    Quantity,
)


class UsageLine(BaseModel):
    """One line: a customer's usage of one dimension."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    customerIdentifier: CustomerIdentifier  # noqa: N815 - the API's name
    dimension_name: DimensionName
    dimension_value: Quantity
    transaction_id: OptionalTransactionId = None


HEADER = tuple(UsageLine.model_fields)
