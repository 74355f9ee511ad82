"""Who may call the API.

All integration tests sign as an IAM user who may call the API and nothing else, because MiniStack does not
verify the signatures of its own key.
"""

from dataclasses import replace

import boto3
import pytest
from botocore.exceptions import ClientError

from tests.integration.http_calls import assert_is_problem, insert, stored, usage
from tools.local_cloud.api_client import send
from tools.local_cloud.deploy import Api


def test_the_caller_may_do_nothing_but_call_the_api(api: Api) -> None:
    dynamodb = boto3.client(
        "dynamodb", aws_access_key_id=api.access_key_id, aws_secret_access_key=api.secret_access_key
    )

    with pytest.raises(ClientError) as caught:
        dynamodb.scan(TableName=api.metering_table)

    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


@pytest.mark.parametrize(
    "path", ["/insertMeteringRecord/c", "/insertMeteringRecords", "/listMeteringRecords/c"]
)
def test_a_caller_without_a_signature_is_refused(api: Api, path: str) -> None:
    method, body = ("GET", None) if path.startswith("/list") else ("POST", b"{}")

    answer = send(api, method, path, body, signed=False)

    assert_is_problem(answer, 403, "forbidden", "Signature Version 4")


def test_a_wrong_secret_is_refused(api: Api, customer: str) -> None:
    impostor = replace(api, secret_access_key=api.secret_access_key[::-1])

    assert_is_problem(insert(impostor, customer, usage()), 403, "forbidden")
    assert stored(api, customer) == []


def test_an_identity_that_may_not_invoke_the_api_is_refused(api: Api, customer: str) -> None:
    iam = boto3.client("iam")
    iam.create_user(UserName=customer)
    key = iam.create_access_key(UserName=customer)["AccessKey"]
    stranger = replace(api, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    # MiniStack has no gateway response for this; API Gateway's ACCESS_DENIED makes it a problem.
    assert insert(stranger, customer, usage()).status_code == 403
    assert stored(api, customer) == []
