"""A stand-in for the quickstart's hourly job, with its rules, and for the AWS Marketplace it reports to."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping

from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, AttributeValueTypeDef]
Usage = list[tuple[str, float]]
"""Dimensions and quantities."""

MAX_USAGE_RECORDS = 25
"""Usage records in one BatchMeterUsage call (AWS Marketplace Metering API reference)."""
MAX_QUANTITY = 2_147_483_647
MAX_RECORDS = 500
"""Of one customer in a run: with many more the job is cut off after it has billed, and bills again."""
MAX_SAFE_INTEGER = 2**53 - 1
_PROTOTYPE = frozenset({"constructor", "__proto__", "toString", "valueOf", "hasOwnProperty"})
"""Names that a plain JavaScript object has from the start (some of them)."""


class JobFailedError(Exception):
    """The job crashes, is cut off, or marks another record than the one it read."""


class MeteringError(Exception):
    """A call of BatchMeterUsage ends with an exception.

    ``fields`` is what JSON shows of it: ``code`` and so on in the AWS SDK's version 2, ``name`` in version 3.
    If it ``was_billed``, only the answer was lost.
    """

    def __init__(self, fields: dict[str, str], *, was_billed: bool = False) -> None:
        super().__init__(fields)
        self.fields = fields
        self.was_billed = was_billed


class Marketplace:
    """The usage that buyers are billed for: quantities by customer and dimension."""

    def __init__(self) -> None:
        self.metered: Counter[tuple[str, str]] = Counter()
        """Where the job got an answer."""
        self.metered_unanswered: Counter[tuple[str, str]] = Counter()
        self.failures: dict[str, dict[str, str] | MeteringError] = {}
        """How a customer's calls fail: for each dimension the status other than Success, or ``Unprocessed``;
        or the call as a whole."""

    def batch_meter_usage(self, customer: str, usage: Usage) -> Mapping[str, list[dict[str, object]]]:
        """Accept one customer's usage, and answer as AWS does."""
        if len(usage) > MAX_USAGE_RECORDS or len(dict(usage)) < len(usage):
            raise ValueError(f"BatchMeterUsage refuses {usage}")
        failure = self.failures.get(customer, {})
        if isinstance(failure, MeteringError):
            if failure.was_billed:
                self.metered_unanswered.update({(customer, name): int(value) for name, value in usage})
            raise failure
        results: list[dict[str, object]] = []
        unprocessed: list[dict[str, object]] = []
        for dimension, quantity in usage:
            if not (quantity.is_integer() and 0 <= quantity <= MAX_QUANTITY):
                raise ValueError(f"BatchMeterUsage refuses the quantity {quantity}")
            status = failure.get(dimension, "Success")
            record = {"CustomerIdentifier": customer, "Dimension": dimension, "Quantity": int(quantity)}
            if status == "Unprocessed":
                unprocessed.append(record)
                continue
            results.append({"UsageRecord": record, "Status": status})
            if status == "Success":
                self.metered[customer, dimension] += int(quantity)
        return {"Results": results, "UnprocessedRecords": unprocessed}


class HourlyJob:
    """Reads pending records, reports their sums, and marks them, as the quickstart's JavaScript does."""

    def __init__(self, client: DynamoDBClient, table_name: str, marketplace: Marketplace) -> None:
        self._client = client
        self._table_name = table_name
        self._marketplace = marketplace
        self.marked: Counter[tuple[str, str]] = Counter()
        """How often each record was reported, by its key."""

    def run(self) -> int:
        """Run once; return how many records the one page of the index had.

        Raises JobFailedError if there is a record that the job cannot bill exactly once.
        """
        page = self._client.query(
            TableName=self._table_name,
            IndexName="PendingMeteringRecordsIndex",
            KeyConditionExpression="metering_pending = :pending",
            ExpressionAttributeValues={":pending": {"S": "true"}},
        )
        by_customer: defaultdict[str, list[Item]] = defaultdict(list)
        for item in page["Items"]:
            by_customer[item["customerIdentifier"]["S"]].append(item)
        if crashing := _PROTOTYPE.intersection(by_customer):
            raise JobFailedError(f"the customers' map has {crashing} from the start")
        for customer, items in by_customer.items():
            if len(items) > MAX_RECORDS:
                raise JobFailedError(f"cut off at {len(items)} records of {customer}")
            try:
                answer = self._marketplace.batch_meter_usage(customer, _summed(items))
            except MeteringError as error:
                response, has_failed = json.dumps(json.dumps(error.fields)), True
            else:
                # The job ignores unprocessed records.
                has_failed = any(result["Status"] != "Success" for result in answer["Results"])
                response = json.dumps(answer)
            for item in items:
                self._mark(customer, item["create_timestamp"]["N"], response, has_failed=has_failed)
        return len(page["Items"])

    def _mark(self, customer: str, create_timestamp: str, response: str, *, has_failed: bool) -> None:
        # JavaScript's only number is the double, and a whole one is written without a fraction: 1e3 is 1000.
        created = float(create_timestamp)
        if created > MAX_SAFE_INTEGER:
            raise JobFailedError(f"no record of {customer} has the key {created}")
        key = str(int(created) if created.is_integer() else created)
        self._client.update_item(
            TableName=self._table_name,
            Key={"customerIdentifier": {"S": customer}, "create_timestamp": {"N": key}},
            UpdateExpression="SET metering_failed = :failed, metering_response = :response"
            " REMOVE metering_pending",
            ExpressionAttributeValues={":failed": {"BOOL": has_failed}, ":response": {"S": response}},
        )
        self.marked[customer, key] += 1


def _summed(items: list[Item]) -> Usage:
    """Add each further record's dimensions to the first record's: inside one record nothing is added up."""
    usage: Usage = []
    for item in items:
        earlier = [name for name, _ in usage]
        for entry in item["dimension_usage"]["L"]:
            dimension, quantity = entry["M"]["dimension"]["S"], float(entry["M"]["value"]["N"])
            if dimension in _PROTOTYPE:
                raise JobFailedError(f"the dimensions' map has {dimension} from the start")
            if dimension in earlier:
                index = earlier.index(dimension)
                usage[index] = (dimension, usage[index][1] + quantity)
            else:
                usage.append((dimension, quantity))
    return usage
