"""``python -m tools.config_schema write|check``: the schema by which editors check ``cdk.context.json``."""

import argparse
import json
import sys
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from infra.config import Config
from tools.generated_file import write_or_check
from tools.local_cloud.steps import PROJECT

SCHEMA_FILE = PROJECT / "docs" / "cdk.context.schema.json"


class _WithoutFieldTitles(GenerateJsonSchema):
    """Leave out the titles that pydantic makes of the parameters' names."""

    def field_title_should_be_set(self, schema: object) -> bool:  # noqa: ARG002 - pydantic's signature
        return False


def context_schema() -> dict[str, Any]:
    """Return the JSON Schema (2020-12) of the whole file, with the parameters' docstrings as descriptions."""
    schema = Config.model_json_schema(schema_generator=_WithoutFieldTitles)
    definitions = schema.pop("$defs")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cdk.context.json of the Marketplace Metering API",
        "type": "object",
        # The CDK CLI keeps what it looked up in the account in the same file.
        "properties": {"params": schema},
        "required": ["params"],
        "$defs": definitions,
    }


def main(command: str) -> int:
    """Write the schema, or return 1 if the file is not up to date."""
    text = json.dumps(context_schema(), indent=2, ensure_ascii=False) + "\n"
    advice = f"{SCHEMA_FILE.name} is not up to date; make schema writes it."
    return write_or_check(command, SCHEMA_FILE, text, advice)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.config_schema", description=__doc__)
    parser.add_argument("command", choices=("write", "check"))
    sys.exit(main(parser.parse_args().command))
