"""How Schemathesis signs requests, and the rules of the contract that JSON Schema cannot say.

Without these rules, some requests that the API rightly refuses would count as valid. A request that is meant
to be invalid is sent unchanged.
"""

import os
import uuid
from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any, cast

import requests
import requests.auth
import schemathesis
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import strategies as st

from metering_handlers.contract.limits import MAX_DIMENSIONS, MAX_IDEMPOTENCY_KEY_LENGTH, MAX_QUANTITY
from metering_handlers.contract.queries import EPOCH, NOT_WITH_GROUP_BY, NOT_WITH_TRANSACTION_ID

if TYPE_CHECKING:
    from schemathesis import Case, HookContext, Response

    JsonObject = dict[str, Any]

KEY = "Idempotency-Key"
RUN = uuid.uuid4().hex[:8]


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
    st.datetimes(min_value=EPOCH.replace(tzinfo=None), timezones=st.just(UTC)).map(datetime.isoformat),
)
schemathesis.openapi.format("date", st.dates(min_value=EPOCH.date()).map(date.isoformat))

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
    # A dry run remembers nothing.
    elif case.headers is not None and KEY in case.headers and "dry_run" not in response.json():
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
    if "transaction_id" in query:
        query = {name: value for name, value in query.items() if name not in NOT_WITH_TRANSACTION_ID}
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
    if text.isdigit():
        return int(text)
    parsed = datetime.fromisoformat(text)
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp() * 1000


def valid_body(body: "JsonObject") -> "JsonObject":
    """Name each dimension once in an entry, and let entries of one customer keep the limits together."""
    if "buyers" not in body:
        return valid_entry(body)
    ids: set[tuple[str, str]] = set()
    sums: defaultdict[str, Counter[str]] = defaultdict(Counter)
    buyers = []
    for entry in map(valid_entry, body["buyers"]):
        key = entry["customerIdentifier"], entry.get("transaction_id", str(uuid.uuid4()))
        total = Counter(sums[key[0]])
        total.update(quantities(entry))
        if key in ids or len(total) > MAX_DIMENSIONS or max(total.values()) > MAX_QUANTITY:
            buyers.append(entry | {"customerIdentifier": str(uuid.uuid4())})
        else:
            ids.add(key)
            sums[key[0]] = total
            buyers.append(entry)
    return {"buyers": buyers}


def valid_entry(entry: "JsonObject") -> "JsonObject":
    """Name each dimension once, and write whole numbers without a decimal point."""
    return entry | {
        "metered_dimensions": [
            {"dimension_name": name, "dimension_value": value} for name, value in quantities(entry).items()
        ]
    }


def quantities(entry: "JsonObject") -> dict[str, int]:
    """The usage of an entry."""
    return {used["dimension_name"]: int(used["dimension_value"]) for used in entry["metered_dimensions"]}
