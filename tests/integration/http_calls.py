"""Calls of the deployed API, and reads of its table."""

import json
from collections import Counter
from typing import Any

import boto3
import requests
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api

MANY = "/insertMeteringRecords"


def usage(quantity: int = 1, dimension: str = "m", **members: str) -> dict[str, Any]:
    """Return the body of a single insert, or with ``customerIdentifier`` an entry of a bulk insert."""
    return {"metered_dimensions": [{"dimension_name": dimension, "dimension_value": quantity}]} | members


def post(api: Api, path: str, payload: object, headers: dict[str, str] | None = None) -> requests.Response:
    return send(api, "POST", path, json.dumps(payload).encode(), headers)


def insert(api: Api, path_identifier: str, payload: object, **headers: str) -> requests.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return post(api, f"/insertMeteringRecord/{path_identifier}", payload, named)


def listed(api: Api, path_identifier: str) -> list[dict[str, Any]]:
    answer = send(api, "GET", f"/listMeteringRecords/{path_identifier}")
    assert answer.status_code == 200, answer.text
    records: list[dict[str, Any]] = answer.json()["records"]
    return records


def assert_is_problem(answer: requests.Response, status: int, slug: str, advice: str = "") -> None:
    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (status, status)
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["type"] == f"urn:marketplace-metering:problem:{slug}"
    assert advice in problem["detail"]
    assert problem["instance"]


def stored(api: Api, prefix: str) -> list[dict[str, AttributeValueTypeDef]]:
    """Return the records of customers whose identifiers have this prefix."""
    pages = (
        boto3.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=api.metering_table,
            FilterExpression="begins_with(customerIdentifier, :prefix)",
            ExpressionAttributeValues={":prefix": {"S": prefix}},
            ConsistentRead=True,
        )
    )
    return [item for page in pages for item in page["Items"]]


def count_all(api: Api) -> int:
    scan = boto3.client("dynamodb").get_paginator("scan")
    return sum(page["Count"] for page in scan.paginate(TableName=api.metering_table, Select="COUNT"))


def sums_of(items: list[dict[str, AttributeValueTypeDef]]) -> Counter[tuple[str, str]]:
    """Add records up by customer and dimension, as the hourly job does."""
    sums: Counter[tuple[str, str]] = Counter()
    for item in items:
        for one in item["dimension_usage"]["L"]:
            sums[item["customerIdentifier"]["S"], one["M"]["dimension"]["S"]] += int(one["M"]["value"]["N"])
    return sums
