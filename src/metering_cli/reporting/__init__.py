"""``metering report``: reports what was billed and what was not."""
