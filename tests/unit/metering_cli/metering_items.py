"""Items of the metering table as the hourly job leaves them, in every outcome."""

from __future__ import annotations

import json

from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, AttributeValueTypeDef]

EXCEPTION = "InvalidUsageDimensionException"


def pending(customer: str, created: int | str, **dimensions: int | str) -> Item:
    return {
        "customerIdentifier": {"S": customer},
        "create_timestamp": {"N": str(created)},
        "metering_pending": {"S": "true"},
        "dimension_usage": {
            "L": [
                {"M": {"dimension": {"S": name}, "value": {"N": str(value)}}}
                for name, value in dimensions.items()
            ]
        },
    }


def billed(customer: str, created: int | str, **dimensions: int | str) -> Item:
    return answered(customer, created, {}, **dimensions)


def answered(customer: str, created: int | str, reasons: dict[str, str], **dimensions: int | str) -> Item:
    """Build a record that BatchMeterUsage answered; what ``reasons`` does not name was billed."""
    results = [
        {"UsageRecord": usage_record(customer, name, value), "Status": reasons.get(name, "Success")}
        for name, value in dimensions.items()
        if reasons.get(name) != "Unprocessed"
    ]
    unprocessed = [
        usage_record(customer, name, value)
        for name, value in dimensions.items()
        if reasons.get(name) == "Unprocessed"
    ]
    answer = {"Results": results, "UnprocessedRecords": unprocessed}
    has_failed = any(result["Status"] != "Success" for result in results)
    return marked(pending(customer, created, **dimensions), answer, has_failed=has_failed)


def failed_with(name: str, customer: str, created: int | str, **dimensions: int | str) -> Item:
    """Build a record whose BatchMeterUsage call ended with an exception, as the job stores that."""
    error = json.dumps({"name": name, "$fault": "client"})
    return marked(pending(customer, created, **dimensions), error, has_failed=True)


def marked(item: Item, answer: object, *, has_failed: bool) -> Item:
    del item["metering_pending"]
    response: Item = {
        "metering_failed": {"BOOL": has_failed},
        "metering_response": {"S": json.dumps(answer)},
    }
    return item | response


def usage_record(customer: str, dimension: str, value: int | str) -> dict[str, object]:
    return {
        "Timestamp": "2026-11-23T10:00:00.000Z",
        "CustomerIdentifier": customer,
        "Dimension": dimension,
        "Quantity": int(value),
    }
