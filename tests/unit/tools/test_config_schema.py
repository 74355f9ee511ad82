"""The JSON Schema of cdk.context.json, compared with what the app accepts."""

import jsonschema_rs
import pytest

from infra.config import Config, ConfigError, read_context
from tests.unit.infra.stacks import DOMAIN, PARAMS, VARIANTS
from tools.config_schema import SCHEMA_FILE, context_schema, main
from tools.local_cloud.steps import PROJECT

SCHEMA = jsonschema_rs.validator_for(context_schema())


def test_file_and_configuration_in_the_repository_fit() -> None:
    context = read_context(PROJECT / "cdk.context.json")

    assert main("check") == 0
    assert (PROJECT / str(context["$schema"])).samefile(SCHEMA_FILE)
    SCHEMA.validate(context)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_app_deploys_is_valid(variant: str) -> None:
    SCHEMA.validate({"params": PARAMS | VARIANTS[variant]})


@pytest.mark.parametrize(
    "params",
    [
        {},
        *(
            PARAMS | change
            for change in (
                {"aws_region": "us-east-1"},
                {"aws_region_name": "<aws_region_name>"},
                {"metering_table_name": "a b"},
                {"authorization": "OPEN"},
                {"idempotency_hours": 23},
                {"idempotency_hours": "24"},
                {"transaction_id_days": 34},
                {"log_retention_days": 2},
                {"throttle": {"rate_per_second": 0}},
                {"throttle": {"rate": 1}},
                {"allowed_cidrs": "203.0.113.0/24"},
                {"waf": "yes"},
                {"stack_name": "1"},
                {"dimensions": [""]},
                {"domain": {"name": "metering.example.com"}},
                {"domain": DOMAIN | {"base_path": "/billing"}},
            )
        ),
    ],
    ids=str,
)
def test_what_the_app_refuses_is_marked_in_the_editor(params: dict[str, object]) -> None:
    assert not SCHEMA.is_valid({"params": params})
    with pytest.raises(ConfigError):
        Config.from_context(params)


def test_each_parameter_has_a_description() -> None:
    schema = context_schema()
    params = schema["properties"]["params"]
    members = [
        each for model in (params, *schema["$defs"].values()) for each in model.get("properties", {}).values()
    ]

    assert [member for member in members if not member.get("description")] == []
    assert params["properties"]["waf"]["description"].startswith("Protect the API with AWS WAF:")
