"""Bodies as text: strict JSON, content types, problem documents."""

import json
from typing import TYPE_CHECKING

import pytest

from tests.unit.lambda_calls import Api, usage
from tests.unit.proxy_event import EXTENDED_REQUEST_ID

if TYPE_CHECKING:
    from tests.unit.conftest import StoredItems

ONE_DIMENSION = '{"metered_dimensions":[{"dimension_name":"m","dimension_value":%s}]}'


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (None, 400),
        ("", 400),
        ("{", 400),
        ("metered_dimensions", 400),
        (ONE_DIMENSION % "NaN", 400),
        (ONE_DIMENSION % "Infinity", 400),
        (ONE_DIMENSION % ("1" * 5_000), 400),
        ('{"metered_dimensions":[],"metered_dimensions":[]}', 400),
        ('{"metered_dimensions":[],"transaction_id":"a","transaction_id":"a"}', 400),
        ("[" * 100_000, 400),
        ("null", 422),
        ("1", 422),
        ('"text"', 422),
        ("[]", 422),
        # Powertools takes the first element of an array where an object is expected.
        (json.dumps([usage(m=1)]), 422),
    ],
)
def test_a_body_that_is_no_json_object_is_refused(
    api: Api, stored: "StoredItems", body: str | None, status: int
) -> None:
    answer = api.insert_one("c", body)

    assert answer.status == status
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert stored.all() == []


@pytest.mark.parametrize("content_type", ["application/json; charset=utf-8", "Application/JSON"])
def test_json_is_json_however_the_content_type_is_written(api: Api, content_type: str) -> None:
    assert api.insert_one("c", usage(m=1), {"Content-Type": content_type}).status == 200


@pytest.mark.parametrize(
    "content_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "application/jsonl", "json"],
)
def test_a_content_type_that_is_not_json_is_refused(
    api: Api, stored: "StoredItems", content_type: str
) -> None:
    answer = api.insert_one("c", usage(m=1), {"Content-Type": content_type})

    assert answer.status == 415
    assert "application/json" in answer.body["detail"]
    assert stored.all() == []


def test_a_problem_has_the_shape_of_rfc_9457_and_the_request_id(api: Api) -> None:
    answer = api.insert_one("c", {})

    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.body["status"] == answer.status == 422
    assert answer.body["instance"] == EXTENDED_REQUEST_ID
    assert set(answer.body) == {"type", "title", "status", "detail", "instance", "errors"}
