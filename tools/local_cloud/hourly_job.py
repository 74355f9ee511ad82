"""A stand-in for the quickstart's hourly job, with its rules, and for the AWS Marketplace it reports to."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from typing import TypedDict

from mypy_boto3_dynamodb import DynamoDBClient
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

Item = dict[str, AttributeValueTypeDef]

MAX_USAGE_RECORDS = 25
"""Usage records in one BatchMeterUsage call (AWS Marketplace Metering API reference)."""
MAX_QUANTITY = 2_147_483_647
MAX_RECORDS = 500
"""Of one customer in a run: with many more the job is cut off after it has billed, and bills again."""
MAX_SAFE_INTEGER = 2**53 - 1
_PROTOTYPE = frozenset({"constructor", "__proto__", "toString", "valueOf", "hasOwnProperty"})
"""Names that a plain JavaScript object has from the start (some of them)."""


class UsageRecord(TypedDict):
    """One dimension's usage, as BatchMeterUsage takes it."""

    CustomerIdentifier: str
    Dimension: str
    Quantity: int


class Result(TypedDict):
    """What became of it."""

    UsageRecord: UsageRecord
    Status: str


class Answer(TypedDict):
    """The members of BatchMeterUsage's answer."""

    Results: list[Result]
    UnprocessedRecords: list[UsageRecord]


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

    def batch_meter_usage(self, customer: str, usage: list[tuple[str, float]]) -> Answer:
        """Accept one customer's usage, dimensions and quantities, and answer as AWS does."""
        dimensions = [dimension for dimension, _ in usage]
        if len(usage) > MAX_USAGE_RECORDS or len(set(dimensions)) < len(dimensions):
            raise ValueError(f"BatchMeterUsage refuses {usage}")
        failure = self.failures.get(customer, {})
        if isinstance(failure, MeteringError):
            if failure.was_billed:
                for dimension, quantity in usage:
                    self.metered_unanswered[customer, dimension] += int(quantity)
            raise failure
        results: list[Result] = []
        unprocessed: list[UsageRecord] = []
        for dimension, quantity in usage:
            if not (quantity.is_integer() and 0 <= quantity <= MAX_QUANTITY):
                raise ValueError(f"BatchMeterUsage refuses the quantity {quantity}")
            status = failure.get(dimension, "Success")
            record = UsageRecord(CustomerIdentifier=customer, Dimension=dimension, Quantity=int(quantity))
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

        Raises
        ------
        JobFailedError
            If there is a record that the job cannot bill exactly once.
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
            response, has_failed = self._report(customer, _summed(items))
            for item in items:
                # JavaScript's only number is the double.
                created = float(item["create_timestamp"]["N"])
                if created > MAX_SAFE_INTEGER:
                    raise JobFailedError(f"no record of {customer} has the key {created}")
                self._mark(customer, created, response, has_failed=has_failed)
        return len(page["Items"])

    def _report(self, customer: str, usage: list[tuple[str, float]]) -> tuple[str, bool]:
        """Report one customer's sums; return what is stored with all of its records of the hour."""
        try:
            answer = self._marketplace.batch_meter_usage(customer, usage)
        except MeteringError as error:
            return json.dumps(json.dumps(error.fields)), True
        # The job ignores unprocessed records.
        statuses = [result["Status"] for result in answer["Results"]]
        return json.dumps(answer), any(status != "Success" for status in statuses)

    def _mark(self, customer: str, create_timestamp: float, response: str, *, has_failed: bool) -> None:
        # JavaScript writes a whole number without a fraction: 1e3 is 1000.
        key = str(int(create_timestamp) if create_timestamp.is_integer() else create_timestamp)
        self._client.update_item(
            TableName=self._table_name,
            Key={"customerIdentifier": {"S": customer}, "create_timestamp": {"N": key}},
            UpdateExpression="SET metering_failed = :failed, metering_response = :response"
            " REMOVE metering_pending",
            ExpressionAttributeValues={":failed": {"BOOL": has_failed}, ":response": {"S": response}},
        )
        self.marked[customer, key] += 1


def _summed(items: list[Item]) -> list[tuple[str, float]]:
    """Add each further record's dimensions to the first record's: inside one record nothing is added up."""
    usage: list[tuple[str, float]] = []
    for item in items:
        earlier = list(usage)
        for entry in item["dimension_usage"]["L"]:
            dimension = entry["M"]["dimension"]["S"]
            if dimension in _PROTOTYPE:
                raise JobFailedError(f"the dimensions' map has {dimension} from the start")
            quantity = float(entry["M"]["value"]["N"])
            known = [index for index, (name, _) in enumerate(earlier) if name == dimension]
            if known:
                usage[known[0]] = (dimension, usage[known[0]][1] + quantity)
            else:
                usage.append((dimension, quantity))
    return usage
