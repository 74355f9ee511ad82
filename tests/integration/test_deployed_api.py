"""The deployed API, over HTTP, as billing software meets it."""

import json
import uuid
from urllib.parse import quote

import boto3
import pytest

from checks.log_lines import find_log_line
from tests.integration.http_calls import MANY, count_all, insert, listed, post, stored, sums_of, usage
from tools.example_requests import INSERT_MANY, INSERT_ONE
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api, stack_resources

USAGE = json.dumps(usage()).encode()


def test_one_customers_usage_lands_in_the_table_as_the_job_reads_it(api: Api, customer: str) -> None:
    """It also leaves a structured line in CloudWatch Logs."""
    answer = insert(api, customer, INSERT_ONE)

    assert (answer.status_code, answer.content) == (200, b"{}")
    (item,) = stored(api, customer)
    assert item.pop("create_timestamp").keys() == {"N"}
    request_id = item.pop("request_id")["S"]
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
    log_groups = stack_resources(api.stack_name)["AWS::Logs::LogGroup"]
    logged = json.loads(find_log_line(boto3.client("logs"), log_groups, request_id) or "{}")
    assert (logged["message"], logged["status"], logged["records"]) == ("Request answered", 200, 1)
    assert logged["route"] == "/insertMeteringRecord/{customerIdentifier+}"


def test_entries_of_one_customer_are_added_up_to_one_record(api: Api, customer: str) -> None:
    buyers = [buyer | {"customerIdentifier": customer} for buyer in (*INSERT_MANY["buyers"], INSERT_ONE)]

    answer = post(api, MANY, {"buyers": buyers}, {"Prefer": "return=representation"})

    assert answer.status_code == 200
    assert answer.headers["preference-applied"] == "return=representation"
    (item,) = stored(api, customer)
    sums = {"metered_1_id": 20, "metered_2_id": 20, "metered_3_id": 40, "metered_id_1": 10}
    assert sums_of([item]) == {(customer, name): quantity for name, quantity in sums.items()}
    assert answer.json() == {
        "records": [{"customerIdentifier": customer, "create_timestamp": int(item["create_timestamp"]["N"])}]
    }


def test_a_dry_run_writes_and_remembers_nothing(api: Api, customer: str) -> None:
    path, payload = f"{customer}?dry_run=true", usage(transaction_id="1")
    for _ in range(2):
        answer = insert(api, path, payload, Idempotency_Key=customer)
        assert answer.json() == {"dry_run": True, "records": 1, "duplicates": []}
    assert stored(api, customer) == []

    assert insert(api, customer, payload).content == b"{}"

    dry_run = insert(api, path, payload).json()
    assert (dry_run["records"], [known["transaction_id"] for known in dry_run["duplicates"]]) == (0, ["1"])
    assert insert(api, f"{customer}?dry-run=true", payload).status_code == 400


def test_usage_is_found_by_its_id(api: Api, customer: str) -> None:
    buyers = [usage(customerIdentifier=customer, transaction_id=name) for name in ("a b", "c&d")]
    assert post(api, MANY, {"buyers": buyers}).status_code == 200
    assert insert(api, customer, usage()).status_code == 200

    for name in ("a b", "c&d"):
        (record,) = listed(api, f"{customer}?transaction_id={quote(name)}")
        assert record["dimension_usage"][0]["value"] == 2
    assert listed(api, f"{customer}?transaction_id=a") == []


def test_however_a_path_spells_a_license_arn_it_is_one_customer(api: Api) -> None:
    arn = f"arn:aws:license-manager::123456789012:license/lic-{uuid.uuid4().hex}"
    spellings = [arn, quote(arn, safe=":"), quote(arn, safe="/"), quote(arn, safe="")]

    assert [insert(api, spelling, usage()).status_code for spelling in spellings] == [200] * 4

    assert [len(listed(api, spelling)) for spelling in spellings] == [4] * 4
    assert len(stored(api, arn)) == 4


@pytest.mark.parametrize(
    ("path_identifier", "body", "status", "text"),
    [
        ("c", b"{", 400, "The body is not JSON"),
        ("c", b"", 400, "send a JSON object"),
        ("c", USAGE.replace(b"1", b"1.0"), 422, "JSON integer"),
        ("c", USAGE.replace(b"1", b"2147483648"), 422, "2147483647"),
        ("c", USAGE.replace(b'"m"', b'"\xff"'), 422, "UTF-8"),
        # Customers whom the job could never forward.
        *((spelling, USAGE, 422, "/customerIdentifier") for spelling in ("x" * 129, "a%20b", "caf%C3%A9")),
        ("100%25", USAGE, 422, "/customerIdentifier"),
    ],
)
def test_bad_input_is_answered_with_what_to_change_and_not_written(
    api: Api, path_identifier: str, body: bytes, status: int, text: str
) -> None:
    before = count_all(api)

    answer = send(api, "POST", f"/insertMeteringRecord/{path_identifier}", body)

    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert text in answer.text
    assert count_all(api) == before
