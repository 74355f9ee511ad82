"""Configurations that result in different stacks."""

DOMAIN = {
    "name": "metering.example.com",
    "certificate_arn": "arn:aws:acm:us-east-1:123456789012:certificate/0c237476-b39f-4d1a-8f60-0d9d0f3c8f5e",
}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "api key": {"authorization": "API_KEY", "usage_plan": {"requests_per_day": 1000}},
    "api key and networks": {"authorization": "API_KEY", "allowed_cidrs": ["203.0.113.0/24"]},
    "networks only": {"authorization": "NONE", "allowed_cidrs": ["203.0.113.0/24", "2001:db8::/32"]},
    "signed from networks": {"allowed_cidrs": ["203.0.113.0/24"]},
    "throttled": {"throttle": {"rate_per_second": 1, "burst": 1}},
    "alarms by e-mail": {"alarm_email": "operator@example.com"},
    "quiet and short logs": {"log_level": "ERROR", "log_retention_days": 1},
    "longer memory": {"idempotency_hours": 720, "transaction_id_days": 400},
    "table with a key": {
        "metering_table_kms_key_arn": "arn:aws:kms:us-east-1:123456789012:key/0c237476-b39f"
    },
    "sandbox": {"create_metering_table": True},
    "x86_64": {"lambda_architecture": "x86_64"},
    "account role elsewhere": {"set_api_gateway_account_role": False},
    "waf": {"waf": True},
    "own domain": {"domain": DOMAIN},
    "own domain with a base path, a DNS record and the default endpoint": {
        "domain": DOMAIN
        | {
            "base_path": "billing/v1",
            "hosted_zone_id": "Z0123456789ABCDEFGHIJ",
            "hosted_zone_name": "example.com",
            "keep_default_endpoint": True,
        }
    },
    "one of several products": {"stack_name": "product-b", "dimensions": ["metered_1_id", "metered_2_id"]},
}
