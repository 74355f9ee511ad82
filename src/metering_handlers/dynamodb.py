"""The functions' DynamoDB client: its time limits, and which errors to retry."""

from __future__ import annotations

import random
import time
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

import botocore.session
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as BotoConnectionError
from botocore.loaders import Loader
from botocore.parsers import ResponseParserError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_dynamodb.type_defs import AttributeValueTypeDef, KeysAndAttributesTypeDef

    Item = Mapping[str, AttributeValueTypeDef]

T = TypeVar("T")

MAX_READ_KEYS = 100
"""Keys in one BatchGetItem call (Amazon DynamoDB API reference)."""

READ_TIMEOUT_MS = 3_000
CONNECT_TIMEOUT_MS = 1_000
ANSWER_RESERVE_MS = 1_000
"""Reserved for rendering the response and logging."""
ATTEMPT_BUDGET_MS = CONNECT_TIMEOUT_MS + READ_TIMEOUT_MS + ANSWER_RESERVE_MS
"""Longest time that a call to DynamoDB can take, and the answer after it: see :func:`spare_ms`."""
BACKOFF_BASE_MS = 25
BACKOFF_CAP_MS = 500
"""Short enough not to leave capacity idle when the last of many concurrent requests end."""

THROTTLING_ERRORS = frozenset(
    {
        *("LimitExceededException", "ProvisionedThroughputExceededException", "RequestLimitExceeded"),
        "ThrottlingException",
    }
)
NO_ANSWER_ERRORS = (BotoConnectionError, HTTPClientError, ResponseParserError)
"""Errors after which it is unknown whether DynamoDB received and executed a call."""


class UnavailableError(Exception):
    """DynamoDB throttled or did not answer until too little time was left."""


def is_retryable(error: Exception) -> bool:
    """Return whether the same call to DynamoDB may succeed later.

    Any 5xx counts: one that comes from in front of DynamoDB has no error code of DynamoDB's.
    """
    if not isinstance(error, ClientError):
        return isinstance(error, NO_ANSWER_ERRORS)
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    retryable = THROTTLING_ERRORS | {"TransactionInProgressException"}
    return error.response["Error"]["Code"] in retryable or status >= 500


def random_backoff_ms(attempt: int) -> float:
    """Return a random time up to an exponential ceiling ("full jitter", AWS Architecture Blog, 2015)."""
    # Not used for security: it only spreads retries.
    return random.uniform(0, min(BACKOFF_CAP_MS, BACKOFF_BASE_MS * 2**attempt))  # noqa: S311


def connect(*, max_connections: int) -> DynamoDBClient:
    """Create a client without retries: a call ends within ``ATTEMPT_BUDGET_MS``.

    ``max_connections`` stay open, one for each concurrent call.
    """
    # boto3 would add its resources and S3 transfers, which nothing here uses, to each cold start.
    session = botocore.session.get_session()
    session.register_component("data_loader", _DynamoDBLoader())
    config = Config(
        connect_timeout=CONNECT_TIMEOUT_MS / 1000,
        read_timeout=READ_TIMEOUT_MS / 1000,
        retries={"mode": "standard", "total_max_attempts": 1},
        max_pool_connections=max_connections,
        # Items are built from validated models; validating them again is a tenth of an insert's CPU.
        parameter_validation=False,
        # Without it botocore builds the same text twice for each call, a tenth of an insert's CPU.
        user_agent=session.user_agent(),
    )
    return cast("DynamoDBClient", session.create_client("dynamodb", config=config))


class _DynamoDBLoader(Loader):
    """Loads service models without listing the directories of all 400 services."""

    def list_available_services(self, type_name: str) -> list[str]:  # noqa: ARG002 - the base class's signature
        return ["dynamodb"]


def spare_ms(remaining_ms: Callable[[], int]) -> int:
    """Return the ms until the last call to DynamoDB has to start; negative if it is too late for another.

    ``remaining_ms`` returns the function's remaining time.
    """
    return remaining_ms() - ATTEMPT_BUDGET_MS


def repeat_read(read: Callable[[], T], remaining_ms: Callable[[], int]) -> T:
    """Call DynamoDB until it answers, as long as there is time for one more attempt.

    Raises UnavailableError if it did not answer in time, and ClientError if it refused for a reason that a
    retry does not change.
    """
    attempt = 0
    while True:
        try:
            return read()
        except (ClientError, *NO_ANSWER_ERRORS) as error:
            if not is_retryable(error):
                raise
            attempt += 1
            delay_ms = random_backoff_ms(attempt)
            if spare_ms(remaining_ms) < delay_ms:
                raise UnavailableError from error
        time.sleep(delay_ms / 1000)


def read_items(  # noqa: PLR0913 - what a BatchGetItem consists of
    client: DynamoDBClient,
    table_name: str,
    key_name: str,
    keys: Sequence[str],
    remaining_ms: Callable[[], int],
    *,
    keys_only: bool = False,
) -> dict[str, Item]:
    """Read items by their partition key, until no key is unprocessed; those that do not exist are left out.

    Strongly consistent; with ``keys_only`` eventually, for half the price, and without the other attributes.
    Raises UnavailableError if DynamoDB did not return all of them in time.
    """
    found: dict[str, Item] = {}
    attempt = 0
    left: list[Mapping[str, AttributeValueTypeDef]] = [{key_name: {"S": key}} for key in keys]
    while left:
        if spare_ms(remaining_ms) < 0:
            raise UnavailableError
        request: KeysAndAttributesTypeDef = {"Keys": left[:MAX_READ_KEYS], "ConsistentRead": not keys_only}
        if keys_only:
            request["ProjectionExpression"] = key_name
        answer = repeat_read(partial(client.batch_get_item, RequestItems={table_name: request}), remaining_ms)
        found.update((item[key_name]["S"], item) for item in answer["Responses"].get(table_name, ()))
        left = left[MAX_READ_KEYS:]
        if unprocessed := answer.get("UnprocessedKeys", {}).get(table_name):
            left += unprocessed["Keys"]
            attempt += 1
            time.sleep(random_backoff_ms(attempt) / 1000)
    return found
