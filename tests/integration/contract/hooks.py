"""How Schemathesis signs requests, and the rules of the contract that JSON Schema cannot say.

Every request is sent as it was generated. One that its schema allows may be refused, but only for the rules
below.
"""

import os
from typing import Any

import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase
from requests_aws4auth import AWS4Auth
from schemathesis import Case, CheckContext, Response
from schemathesis.openapi.checks import RejectedPositiveData

KEY_REUSED = "urn:marketplace-metering:problem:idempotency-key-reused"
RULES = {
    "not_with_transaction_id": "an id is in one record: there is nothing to choose or sort",
    "not_with_group_by": "totals are of all records",
    "empty_range": "from is later than to",
    "invalid_instant": "JSON Schema knows no calendar: 2026-02-31",
    "not_milliseconds": "milliseconds begin in the year 2000",
    "invalid_next_token": "tokens are opaque, and belong to one listing",
    KEY_REUSED: "the key came with other entries before",
    "duplicate_dimension": "an entry names each dimension once",
    "duplicate_transaction_id": "a customer's entries in a request have different ids",
    "too_many_dimensions": "one customer's entries together have at most 25 dimensions",
    "sum_too_large": "one customer's entries together fit into one BatchMeterUsage call",
    "not_an_integer": "1.0 is an integer to JSON Schema, but not as an exact quantity",
}
"""Codes for which a request that its schema allows is refused, and why."""
MENDED_WITHOUT = {
    "not_with_transaction_id": "transaction_id",
    "not_with_group_by": "group_by",
    "empty_range": "from",
    "invalid_next_token": "next_token",
    KEY_REUSED: "Idempotency-Key",
}
"""The parameter without which such a request is accepted: it is sent so too."""


class Signer(AuthBase):
    """Signs the host, the content type and the body.

    requests-aws4auth 1.4.0 splits the values of all headers, and fails on a space with an odd quotation mark.
    """

    _sign = AWS4Auth(
        os.environ["AWS_ACCESS_KEY_ID"],
        os.environ["AWS_SECRET_ACCESS_KEY"],
        os.environ["AWS_REGION"],
        "execute-api",
    )

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        unsigned = {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
        for name in unsigned:
            del request.headers[name]
        self._sign(request)
        request.headers.update(unsigned)
        return request


SIGNER = Signer()
schemathesis.auth.set_from_requests(SIGNER)  # type: ignore[attr-defined] # documented, but put there at run time


def codes_of(response: Response) -> set[str]:
    """Return the codes of all violations, or else the problem's type; nothing if it was accepted."""
    if response.status_code == 200:
        return set()
    problem = response.json()
    return {violation["code"] for violation in problem.get("errors", ())} or {problem["type"]}


@schemathesis.check
def the_schema_is_all_of_the_rules_but_these(
    ctx: CheckContext,  # noqa: ARG001
    response: Response,
    case: Case[Any],
) -> None:
    """Replace positive_data_acceptance, which knows statuses but no codes."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    query, headers, allowed = dict(case.query or {}), dict(case.headers or {}), set(RULES)
    while codes := codes_of(response):
        if not codes <= allowed:
            raise RejectedPositiveData(
                operation=case.operation.label,
                message=f"Valid data should have been accepted: {codes}",
                status_code=response.status_code,
                allowed_statuses=["200"],
            )
        mended = codes & MENDED_WITHOUT.keys()
        if not mended:
            return
        allowed -= mended
        for code in mended:
            query.pop(MENDED_WITHOUT[code], None)
            headers.pop(MENDED_WITHOUT[code], None)
        response = case.operation.Case(
            path_parameters=case.path_parameters, query=query, headers=headers, body=case.body
        ).call(auth=SIGNER)
