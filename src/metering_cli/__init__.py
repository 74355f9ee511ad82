"""The seller's command, ``metering``."""
