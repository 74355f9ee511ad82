"""The Lambda functions of the Marketplace Metering API."""
