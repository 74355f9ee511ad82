"""How Schemathesis signs requests, and the rules of the contract that JSON Schema cannot say.

Without these rules, some requests that the API rightly refuses would count as valid. A request that is meant
to be invalid is sent unchanged.
"""

import os
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

import requests
import requests.auth
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import strategies as st

from metering_handlers.models import MAX_IDEMPOTENCY_KEY_LENGTH, NOT_WITH_GROUP_BY

if TYPE_CHECKING:
    from schemathesis import Case, HookContext, Response

    JsonObject = dict[str, Any]

KEY = "Idempotency-Key"
RUN = uuid.uuid4().hex[:8]
MANY = 1_000
"""Number of entries from which a bulk request gets its own customer: listing tens of thousands of records
takes the local cloud seconds, where DynamoDB takes milliseconds."""


class Signature(requests.auth.AuthBase):
    """AWS Signature Version 4 over a request as it goes out."""

    def __init__(self) -> None:
        credentials = Credentials(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
        self._signer = SigV4Auth(credentials, "execute-api", os.environ["AWS_REGION"])

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        signed = AWSRequest(
            request.method, request.url, headers=dict(request.headers), data=request.body or b""
        )
        self._signer.add_auth(signed)
        request.headers.update(signed.headers)
        return request


schemathesis.auth.set_from_requests(  # type: ignore[attr-defined] # documented, but put there at run time
    Signature()
)

# Epoch milliseconds begin in 1970; JSON Schema has no earliest date.
schemathesis.openapi.format(
    "date-time",
    st.datetimes(min_value=datetime(1970, 1, 1), timezones=st.just(UTC)).map(datetime.isoformat),
)

first_use: dict[str, object] = {}
"""The first accepted request of each idempotency key."""
pages: dict[str, tuple["JsonObject", "JsonObject"]] = {}
"""The path and query parameters of the page that gave each next_token."""


@schemathesis.hook
def before_call(context: "HookContext", case: "Case[Any]", kwargs: "JsonObject") -> None:  # noqa: ARG001
    """Keep a valid request to the rules that its schema does not know."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    if case.method == "GET":
        continue_or_start_listing(case)
        return
    case.body = valid_body(cast("JsonObject", case.body))
    if case.headers is not None and KEY in case.headers:
        case.headers[KEY] = unused_key(case.headers[KEY], payload(case))


@schemathesis.hook
def after_call(context: "HookContext", case: "Case[Any]", response: "Response") -> None:  # noqa: ARG001
    """Remember keys and tokens for later requests."""
    if response.status_code != 200:
        return
    if case.method == "GET":
        if token := response.json()["next_token"]:
            pages[token] = dict(case.path_parameters or {}), dict(case.query or {})
    elif case.headers is not None and KEY in case.headers:
        first_use.setdefault(case.headers[KEY], payload(case))


def payload(case: "Case[Any]") -> object:
    """The request that an idempotency key identifies."""
    return case.path_parameters, case.body


def unused_key(key: str, came_with: object) -> str:
    """Change a key into one that no other payload has had, in this run or in earlier ones."""
    if not key.startswith(RUN):
        key = (RUN + key)[:MAX_IDEMPOTENCY_KEY_LENGTH]
    return key if first_use.get(key, came_with) == came_with else RUN + str(uuid.uuid4())


def continue_or_start_listing(case: "Case[Any]") -> None:
    """Send only tokens of the API, with the listing they belong to, and no conflicting parameters."""
    query = dict(case.query or {})
    token = query.pop("next_token", None)
    if "group_by" in query:
        query = {name: value for name, value in query.items() if name not in NOT_WITH_GROUP_BY}
    if token in pages:
        path_parameters, page_before = pages[token]
        case.path_parameters = dict(path_parameters)
        query = page_before | {"next_token": token}
    elif "from" in query and "to" in query:
        query["from"], query["to"] = sorted((query["from"], query["to"]), key=milliseconds)
    case.query = query


def milliseconds(instant: int | str) -> float:
    """Read an instant in either form."""
    text = str(instant)
    return int(text) if text.isdigit() else datetime.fromisoformat(text).timestamp() * 1000


def valid_body(body: "JsonObject") -> "JsonObject":
    """Name each dimension once in an entry, and write whole numbers without a decimal point."""
    if "buyers" in body:
        buyers = [entry | valid_body(entry) for entry in body["buyers"]]
        if len(buyers) > MANY:
            customer = str(uuid.uuid4())
            buyers = [entry | {"customerIdentifier": customer} for entry in buyers]
        return {"buyers": buyers}
    by_name = {
        dimension["dimension_name"]: dimension | {"dimension_value": int(dimension["dimension_value"])}
        for dimension in body["metered_dimensions"]
    }
    return {"metered_dimensions": list(by_name.values())}
