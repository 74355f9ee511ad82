"""The JSON Schema of cdk.context.json, compared with what the app accepts."""

import json

import jsonschema_rs
import pytest

from infra.config import Config, ConfigError, read_context
from tests.unit.infra.stacks import DOMAIN, PARAMS, VARIANTS
from tools.config_schema import SCHEMA_FILE, context_schema
from tools.local_cloud.steps import PROJECT

SCHEMA = jsonschema_rs.validator_for(context_schema())


def test_the_file_in_docs_is_up_to_date() -> None:
    assert json.loads(SCHEMA_FILE.read_text(encoding="utf-8")) == context_schema()


def test_the_repositorys_configuration_is_valid_and_names_the_schema() -> None:
    context = read_context(PROJECT / "cdk.context.json")

    SCHEMA.validate(context)
    assert (PROJECT / str(context["$schema"])).samefile(SCHEMA_FILE)


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_the_app_deploys_is_valid(variant: str) -> None:
    SCHEMA.validate({"params": PARAMS | VARIANTS[variant]})


@pytest.mark.parametrize(
    "params",
    [
        {},
        PARAMS | {"aws_region": "us-east-1"},
        PARAMS | {"aws_region_name": "<aws_region_name>"},
        PARAMS | {"metering_table_name": "a b"},
        PARAMS | {"authorization": "OPEN"},
        PARAMS | {"idempotency_hours": 23},
        PARAMS | {"idempotency_hours": "24"},
        PARAMS | {"transaction_id_days": 34},
        PARAMS | {"log_retention_days": 2},
        PARAMS | {"throttle": {"rate_per_second": 0}},
        PARAMS | {"throttle": {"rate": 1}},
        PARAMS | {"allowed_cidrs": "203.0.113.0/24"},
        PARAMS | {"waf": "yes"},
        PARAMS | {"stack_name": "1"},
        PARAMS | {"dimensions": [""]},
        PARAMS | {"domain": {"name": "metering.example.com"}},
        PARAMS | {"domain": DOMAIN | {"base_path": "/billing"}},
    ],
    ids=str,
)
def test_what_the_app_refuses_is_marked_in_the_editor(params: dict[str, object]) -> None:
    assert not SCHEMA.is_valid({"params": params})
    with pytest.raises(ConfigError):
        Config.from_context(params)


def test_each_parameter_has_a_description() -> None:
    schema = context_schema()
    models = [schema["properties"]["params"], *schema["$defs"].values()]

    for model in models:
        for name, member in model.get("properties", {}).items():
            assert member.get("description"), name
    assert models[0]["properties"]["waf"]["description"].startswith("Protect the API with AWS WAF:")
