"""A usage file's columns and their rules: what ``metering import`` reads and ``metering report`` writes."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from metering_handlers.contract.identifiers import (  # noqa: TC001 - pydantic needs them
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
