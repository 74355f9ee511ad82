"""Calls of the deployed API, and reads of its table."""

import json
from collections.abc import Mapping
from typing import Any

import boto3
import requests
from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef

from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api

ONE_DIMENSION = {"metered_dimensions": [{"dimension_name": "m", "dimension_value": 1}]}


def post(api: Api, path: str, payload: object, headers: dict[str, str] | None = None) -> requests.Response:
    return send(api, "POST", path, json.dumps(payload).encode(), headers)


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


def stored(api: Api, customer: str) -> list[dict[str, AttributeValueTypeDef]]:
    pages = (
        boto3.client("dynamodb")
        .get_paginator("query")
        .paginate(
            TableName=api.metering_table,
            KeyConditionExpression="customerIdentifier = :c",
            ExpressionAttributeValues={":c": {"S": customer}},
            ConsistentRead=True,
        )
    )
    return [item for page in pages for item in page["Items"]]


def usage_of(item: Mapping[str, AttributeValueTypeDef]) -> dict[str, int]:
    """Return the quantities of a stored record, by dimension."""
    return {
        usage["M"]["dimension"]["S"]: int(usage["M"]["value"]["N"]) for usage in item["dimension_usage"]["L"]
    }


def count_all(api: Api) -> int:
    pages = (
        boto3.client("dynamodb").get_paginator("scan").paginate(TableName=api.metering_table, Select="COUNT")
    )
    return sum(page["Count"] for page in pages)
