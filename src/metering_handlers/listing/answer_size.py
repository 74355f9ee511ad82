"""The size of an answer, which Lambda limits."""

import json

MAX_ANSWER_BYTES = 5_500_000
"""Bytes of records or totals in one response, of the 6 MB that Lambda allows with headers and ``next_token``
(Lambda Developer Guide, "Lambda quotas", invocation payload)."""


def sent_bytes(json_text: bytes) -> int:
    """Return the size in bytes of JSON within Lambda's response, where the body is a string.

    Non-ASCII characters are counted as escaped, which is how some of Lambda's runtimes send them.
    """
    if json_text.isascii():
        # The usual case, without a copy: JSON has no raw control character but this one.
        escapes = json_text.count(b'"') + json_text.count(b"\\") + 5 * json_text.count(b"\x7f")
        return len(json_text) + escapes + len('""')
    return len(json.dumps(json_text.decode()))
