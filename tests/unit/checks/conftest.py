"""An account in moto, and answers that moto would not give."""

from collections.abc import Iterator, Mapping

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws


@pytest.fixture(autouse=True)
def account() -> Iterator[None]:
    with mock_aws(config={"core": {"passthrough": {"urls": [r"https?://127\.0\.0\.1.*"]}}}):
        yield


@pytest.fixture(autouse=True)
def answers(monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    """Return a dictionary of operations and their answers: a response, or the code of an error.

    GetAccount needs one always: packages are missing for API Gateway of moto.
    """
    fixed: dict[str, object] = {"GetAccount": {}}
    call = vars(BaseClient)["_make_api_call"]

    def answer(client: BaseClient, operation: str, parameters: Mapping[str, object]) -> object:
        if operation not in fixed:
            return call(client, operation, parameters)
        response = fixed[operation]
        if isinstance(response, str):
            raise ClientError({"Error": {"Code": response, "Message": "No."}}, operation)
        return response

    monkeypatch.setattr(BaseClient, "_make_api_call", answer)
    return fixed
