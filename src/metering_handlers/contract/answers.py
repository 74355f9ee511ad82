"""Answers to inserts: what callers get. Docstrings are the descriptions in the OpenAPI document."""

from typing import Literal, NotRequired

from pydantic import ConfigDict, with_config
from typing_extensions import TypedDict

_documented = with_config(ConfigDict(use_attribute_docstrings=True))


@_documented
class RecordKey(TypedDict):
    """Key of a stored record."""

    customerIdentifier: str
    create_timestamp: int
    """Time of the request that wrote it, in milliseconds since 1970-01-01T00:00:00Z; up to 10 s more where \
records of one customer would have had the same."""


@_documented
class Duplicate(TypedDict):
    """An entry that was skipped, because its `transaction_id` is known."""

    customerIdentifier: str
    transaction_id: str
    create_timestamp: int
    """Of the record that holds the known entry."""
    differs: bool
    """Whether the known entry has other usage. The first counts: nothing was changed."""


@_documented
class Inserted(TypedDict):
    """Everything is stored; empty unless there is something to tell."""

    records: NotRequired[list[RecordKey]]
    """With `Prefer: return=representation`: the records that hold the request's usage, by customer and \
time; not those of duplicates."""
    duplicates: NotRequired[list[Duplicate]]
    """Present if entries were skipped: one for each, by customer and id."""


@_documented
class DryRun(TypedDict):
    """What an insert would write now: no promise. Nothing was written or remembered."""

    dry_run: Literal[True]
    records: int
    """Number of new records."""
    duplicates: list[Duplicate]
    """The entries that would be skipped, by customer and id."""
