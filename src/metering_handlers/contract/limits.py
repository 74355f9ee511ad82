"""The API's limits: each stands here once, with the source of its value."""

MAX_ENTRIES = 10_000
"""Entries in one bulk request: with one dimension each, they stay below Lambda's limit of 6 MB."""
MAX_DIMENSIONS = 25
"""Distinct dimensions of an entry, and of a customer in a request: the hourly job sends all of a customer's
dimensions in one BatchMeterUsage call, which takes 25 (AWS Marketplace Metering API reference)."""
MAX_DIMENSION_NAME_LENGTH = 255
"""Characters; UsageRecord.Dimension in the AWS Marketplace Metering API reference."""
MAX_QUANTITY = 2_147_483_647
"""UsageRecord.Quantity in the AWS Marketplace Metering API reference; the hourly job sends sums."""
MAX_CUSTOMER_IDENTIFIER_LENGTH = 128
"""Characters; the hourly job uses the identifier as an SQS MessageGroupId, which takes 128."""
MAX_TRANSACTION_ID_LENGTH = 255
MAX_IDEMPOTENCY_KEY_LENGTH = 255
MAX_TIMESTAMP = 2**53 - 1
"""Milliseconds; the hourly job reads timestamps as JavaScript numbers, which are exact up to here."""
EARLIEST_INSTANT = 946_684_800_000
"""Milliseconds; 2000-01-01. All digits that mean an earlier time are seconds, or a date without hyphens."""
MAX_PAGE_SIZE = 1_000
DEFAULT_PAGE_SIZE = 100
MAX_NEXT_TOKEN_LENGTH = 1_024
MAX_LISTED_VIOLATIONS = 1_000
"""Violations in one response: 10,000 entries can break 250,000 rules, and Lambda allows 6 MB."""
