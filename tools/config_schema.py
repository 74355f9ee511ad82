"""``python -m tools.config_schema write|check``: the schema by which editors check ``cdk.context.json``."""

from __future__ import annotations

import argparse
import inspect
import json
import re
import sys
from typing import TYPE_CHECKING, Any

from infra.config import Config, Domain, Throttle, UsagePlan
from tools.local_cloud.steps import PROJECT

if TYPE_CHECKING:
    JsonObject = dict[str, Any]

SCHEMA_FILE = PROJECT / "docs" / "cdk.context.schema.json"

_MODELS = {model.__name__: model for model in (Config, Domain, Throttle, UsagePlan)}
_PARAMETER = re.compile(r"^(\w[\w, ]*) : [^\n]+\n((?: {4}[^\n]+\n?)+)", re.MULTILINE)
"""A parameter of a NumPy docstring: its name, or several names, and what it means."""


def context_schema() -> JsonObject:
    """Build the schema from the configuration's model.

    Returns
    -------
    JsonObject
        A JSON Schema (2020-12) of the whole file. Each parameter's description says what it means, from the
        docstring of its model, and what to write.
    """
    schema = Config.model_json_schema()
    definitions = schema.pop("$defs")
    _describe(schema)
    for definition in definitions.values():
        if "properties" in definition:
            _describe(definition)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "cdk.context.json of the Marketplace Metering API",
        "type": "object",
        # The CDK CLI keeps what it looked up in the account in the same file.
        "properties": {"params": schema},
        "required": ["params"],
        "$defs": definitions,
    }


def _describe(schema: JsonObject) -> None:
    """Set the descriptions: of each parameter its meaning, of each model the first line of its docstring."""
    model = _MODELS[schema.pop("title")]
    meanings = {
        name: " ".join(text.split())
        for base in model.__mro__
        for names, text in _PARAMETER.findall(inspect.cleandoc(base.__doc__ or ""))
        for name in names.split(", ")
    }
    schema["description"] = inspect.cleandoc(model.__doc__ or "").partition("\n")[0]
    for name, member in schema["properties"].items():
        member.pop("title", None)
        member["description"] = f"{meanings[name]} Write {model.model_fields[name].description}."


def main(command: str) -> int:
    """Write the schema, or compare it with the file.

    Parameters
    ----------
    command : str
        ``write`` or ``check``.

    Returns
    -------
    int
        Exit status: 1 if the file is not up to date.
    """
    text = json.dumps(context_schema(), indent=2, ensure_ascii=False) + "\n"
    if command == "write":
        SCHEMA_FILE.write_text(text, encoding="utf-8")
    elif not SCHEMA_FILE.exists() or SCHEMA_FILE.read_text(encoding="utf-8") != text:
        print(f"{SCHEMA_FILE.name} is not up to date; make schema writes it.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.config_schema", description=__doc__)
    parser.add_argument("command", choices=("write", "check"))
    sys.exit(main(parser.parse_args().command))
