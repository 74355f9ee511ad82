"""The deployed API, over HTTP, as billing software meets it."""

import json
import uuid
from urllib.parse import quote

import boto3
import pytest

from checks.log_lines import find_log_line
from tests.integration.http_calls import (
    ONE_DIMENSION,
    assert_is_problem,
    count_all,
    listed,
    post,
    stored,
    usage_of,
)
from tools.example_requests import INSERT_MANY, INSERT_ONE
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api, stack_resources


def test_one_customers_usage_lands_in_the_table_as_the_job_reads_it(api: Api, customer: str) -> None:
    answer = post(api, f"/insertMeteringRecord/{customer}", INSERT_ONE)

    assert (answer.status_code, answer.content) == (200, b"{}")
    (item,) = stored(api, customer)
    assert item.pop("create_timestamp").keys() == {"N"}
    assert item.pop("request_id").keys() == {"S"}
    assert item == {
        "customerIdentifier": {"S": customer},
        "metering_pending": {"S": "true"},
        "dimension_usage": {
            "L": [
                {"M": {"dimension": {"S": "metered_1_id"}, "value": {"N": "10"}}},
                {"M": {"dimension": {"S": "metered_3_id"}, "value": {"N": "20"}}},
            ]
        },
    }


def test_entries_of_one_customer_are_added_up_to_one_record(api: Api, customer: str) -> None:
    buyers = [buyer | {"customerIdentifier": customer} for buyer in INSERT_MANY["buyers"]]
    payload = {"buyers": [*buyers, {"customerIdentifier": customer, **INSERT_ONE}]}

    answer = post(api, "/insertMeteringRecords", payload, {"Prefer": "return=representation"})

    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "return=representation"
    (item,) = stored(api, customer)
    assert usage_of(item) == {"metered_1_id": 20, "metered_2_id": 20, "metered_3_id": 40, "metered_id_1": 10}
    assert answer.json() == {
        "records": [{"customerIdentifier": customer, "create_timestamp": int(item["create_timestamp"]["N"])}]
    }


def test_a_dry_run_writes_and_remembers_nothing(api: Api, customer: str) -> None:
    path = f"/insertMeteringRecord/{customer}"
    usage = ONE_DIMENSION | {"transaction_id": "1"}
    would_be_written = {"dry_run": True, "records": 1, "duplicates": []}
    for _ in range(2):
        assert post(api, f"{path}?dry_run=true", usage, {"Idempotency-Key": customer}).json() == (
            would_be_written
        )
    assert stored(api, customer) == []

    assert post(api, path, usage).content == b"{}"

    dry_run = post(api, f"{path}?dry_run=true", usage).json()
    assert (dry_run["records"], [known["transaction_id"] for known in dry_run["duplicates"]]) == (0, ["1"])
    assert post(api, f"{path}?dry-run=true", ONE_DIMENSION).status_code == 400


def test_usage_is_found_by_its_id(api: Api, customer: str) -> None:
    buyers = [
        {"customerIdentifier": customer, "transaction_id": name, **ONE_DIMENSION} for name in ("a b", "c&d")
    ]
    assert post(api, "/insertMeteringRecords", {"buyers": buyers}).status_code == 200
    assert post(api, f"/insertMeteringRecord/{customer}", ONE_DIMENSION).status_code == 200

    for name in ("a b", "c&d"):
        (record,) = listed(api, f"{customer}?transaction_id={quote(name)}")
        assert record["dimension_usage"][0]["value"] == 2
    assert listed(api, f"{customer}?transaction_id=a") == []


def test_however_a_path_spells_a_license_arn_it_is_one_customer(api: Api) -> None:
    arn = f"arn:aws:license-manager::123456789012:license/lic-{uuid.uuid4().hex}"
    spellings = [arn, quote(arn, safe=":"), quote(arn, safe="/"), quote(arn, safe="")]

    for spelling in spellings:
        assert post(api, f"/insertMeteringRecord/{spelling}", ONE_DIMENSION).status_code == 200

    for spelling in spellings:
        assert len(listed(api, spelling)) == len(spellings)
    assert len(stored(api, arn)) == len(spellings)


def test_ten_thousand_customers_in_one_request_are_stored(api: Api, customer: str) -> None:
    before = count_all(api)
    buyers = [{"customerIdentifier": f"{customer}-{number}", **ONE_DIMENSION} for number in range(10_000)]

    answer = post(api, "/insertMeteringRecords", {"buyers": buyers})

    assert (answer.status_code, answer.content) == (200, b"{}")
    assert count_all(api) == before + 10_000


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        (b"{", 400, "The body is not JSON"),
        (b"", 400, "send a JSON object"),
        (b'{"metered_dimensions":[{"dimension_name":"m","dimension_value":1.0}]}', 422, "JSON integer"),
        (b'{"metered_dimensions":[{"dimension_name":"m","dimension_value":2147483648}]}', 422, "2147483647"),
        (b'{"metered_dimensions":[{"dimension_name":"\xff","dimension_value":1}]}', 422, "UTF-8"),
    ],
)
def test_a_bad_body_is_answered_with_what_to_change_and_nothing_is_written(
    api: Api, customer: str, body: bytes, status: int, text: str
) -> None:
    answer = send(api, "POST", f"/insertMeteringRecord/{customer}", body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert text in answer.text
    assert stored(api, customer) == []


@pytest.mark.parametrize("spelling", ["x" * 129, "a%20b", "caf%C3%A9", "100%25"], ids=lambda each: each[:9])
def test_a_customer_the_job_could_never_forward_is_refused(api: Api, spelling: str) -> None:
    before = count_all(api)

    answer = post(api, f"/insertMeteringRecord/{spelling}", ONE_DIMENSION)

    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/customerIdentifier"
    assert count_all(api) == before


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/insertMeteringRecord/c"),
        ("POST", "/insertMeteringRecords"),
        ("GET", "/listMeteringRecords/c"),
    ],
)
def test_a_caller_without_a_signature_is_refused(api: Api, method: str, path: str) -> None:
    answer = send(api, method, path, b"{}" if method == "POST" else None, signed=False)

    assert_is_problem(answer, 403, "forbidden", "Signature Version 4")


def test_a_request_leaves_a_structured_line_in_cloudwatch_logs(api: Api, customer: str) -> None:
    assert post(api, f"/insertMeteringRecord/{customer}", ONE_DIMENSION).status_code == 200
    request_id = stored(api, customer)[0]["request_id"]["S"]

    line = find_log_line(
        boto3.client("logs"), stack_resources(api.stack_name)["AWS::Logs::LogGroup"], request_id
    )

    assert line
    logged = json.loads(line)
    assert (logged["message"], logged["status"], logged["records"]) == ("Request answered", 200, 1)
    assert logged["route"] == "/insertMeteringRecord/{customerIdentifier+}"
