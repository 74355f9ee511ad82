"""Who may call, and how a request has to be signed (AWS Signature Version 4).

All integration tests sign as an IAM user who may call the API and nothing else, because MiniStack does not
verify the signatures of its own key.
"""

import json
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from tests.integration.http_calls import ONE_DIMENSION, post, stored
from tools.local_cloud.api_client import Response, send

if TYPE_CHECKING:
    from tools.local_cloud.deploy import Api

ARN = "arn:aws:license-manager::123456789012:license/lic-0123456789abcdef"


class OldCurl(SigV4Auth):
    """Signs the query in the order in which it is sent, as curl did before 8.3."""

    def canonical_query_string(self, request: AWSRequest) -> str:
        return urlsplit(request.url or "").query


def signature_of(
    api: "Api", path: str, signer: type[SigV4Auth] = SigV4Auth, method: str = "GET"
) -> dict[str, str]:
    """Sign a request for that path, and return its headers."""
    request = AWSRequest(method, f"{api.api_url}{path}")
    signer(Credentials(api.access_key_id, api.secret_access_key), "execute-api", api.region).add_auth(request)
    return dict(request.headers.items())


def assert_is_refused(answer: Response) -> None:
    assert (answer.status, answer.headers["content-type"]) == (403, "application/problem+json")
    assert json.loads(answer.body)["type"] == "urn:marketplace-metering:problem:forbidden"


def test_the_caller_may_do_nothing_but_call_the_api(api: "Api") -> None:
    dynamodb = boto3.client(
        "dynamodb", aws_access_key_id=api.access_key_id, aws_secret_access_key=api.secret_access_key
    )

    with pytest.raises(ClientError) as caught:
        dynamodb.scan(TableName=api.metering_table)

    assert caught.value.response["Error"]["Code"] == "AccessDeniedException"


def test_a_wrong_secret_is_refused(api: "Api", customer: str) -> None:
    impostor = replace(api, secret_access_key=api.secret_access_key[::-1])

    assert_is_refused(post(impostor, f"/insertMeteringRecord/{customer}", ONE_DIMENSION))
    assert stored(api, customer) == []


def test_an_identity_that_may_not_invoke_the_api_is_refused(api: "Api", customer: str) -> None:
    iam = boto3.client("iam")
    iam.create_user(UserName=customer)
    key = iam.create_access_key(UserName=customer)["AccessKey"]
    stranger = replace(api, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])

    answer = post(stranger, f"/insertMeteringRecord/{customer}", ONE_DIMENSION)

    # MiniStack has no gateway response for this; API Gateway's ACCESS_DENIED makes it a problem.
    assert answer.status == 403
    assert stored(api, customer) == []


def test_a_path_is_signed_as_it_is_sent(api: "Api") -> None:
    plain, encoded = (f"/listMeteringRecords/{spelling}" for spelling in (ARN, quote(ARN, safe="")))

    for path in (plain, encoded):
        assert send(api, "GET", path, headers=signature_of(api, path), signed=False).status == 200
    assert_is_refused(send(api, "GET", encoded, headers=signature_of(api, plain), signed=False))
    assert_is_refused(send(api, "GET", plain, headers=signature_of(api, encoded), signed=False))


def test_a_query_is_signed_in_sorted_order(api: "Api", customer: str) -> None:
    path = f"/listMeteringRecords/{customer}"
    for query, status in (("limit=10&status=pending", 200), ("status=pending&limit=10", 403)):
        url = f"{path}?{query}"

        answer = send(api, "GET", url, headers=signature_of(api, url, OldCurl), signed=False)

        assert answer.status == status
