"""An account in moto, and answers that moto would not give."""

from collections.abc import Iterator, Mapping

import pytest
from botocore.client import BaseClient
from botocore.exceptions import ClientError
from moto import mock_aws


@pytest.fixture(autouse=True)
def answers() -> Iterator[dict[str, object]]:
    """Return a dictionary of operations and their answers: a response, or the code of an error.

    GetAccount needs one always: packages are missing for API Gateway of moto.
    """
    fixed: dict[str, object] = {"GetAccount": {}}
    with mock_aws(), pytest.MonkeyPatch.context() as patch:
        call = vars(BaseClient)["_make_api_call"]

        def answer(client: BaseClient, operation: str, parameters: Mapping[str, object]) -> object:
            if operation not in fixed:
                return call(client, operation, parameters)
            response = fixed[operation]
            if isinstance(response, str):
                raise ClientError({"Error": {"Code": response, "Message": "No."}}, operation)
            return response

        patch.setattr(BaseClient, "_make_api_call", answer)
        yield fixed
