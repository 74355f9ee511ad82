"""Ids of rows in the idempotency table; they never change."""

import hashlib


def length_prefixed(*texts: str) -> bytes:
    """Encode texts so that no others have the same bytes: each in UTF-8, after its length in 4 bytes."""
    encoded = [text.encode() for text in texts]
    return b"".join([len(text).to_bytes(4) + text for text in encoded])


def entry_row_id(customer: str, transaction_id: str) -> str:
    """Return the id of an entry's row; it has no ``#``, as a request row's id has."""
    return hashlib.sha256(length_prefixed(customer, transaction_id)).hexdigest()


def request_row_id(key: str, chunk: int) -> str:
    """Return the id of the row of a request's chunk."""
    return f"{key}#{chunk}"
