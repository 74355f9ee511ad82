"""``metering import``: sends the usage of a file."""
