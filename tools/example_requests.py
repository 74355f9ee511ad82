"""The request bodies in ``examples/``, which the demo sends and the OpenAPI document shows."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "examples"
INSERT_ONE_FILE = FOLDER / "insert-one.json"
INSERT_MANY_FILE = FOLDER / "insert-many.json"

INSERT_ONE: dict[str, Any] = json.loads(INSERT_ONE_FILE.read_text(encoding="utf-8"))
"""Body of ``POST /insertMeteringRecord/{customerIdentifier}``."""
INSERT_MANY: dict[str, Any] = json.loads(INSERT_MANY_FILE.read_text(encoding="utf-8"))
"""Body of ``POST /insertMeteringRecords``."""
CUSTOMER: str = INSERT_MANY["buyers"][0]["customerIdentifier"]
"""The customer of every example."""
