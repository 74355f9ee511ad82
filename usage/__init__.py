"""The seller's commands: ``python -m usage``."""

import sys
from pathlib import Path

# The rules are in metering_handlers.contract, which a checkout has under src/.
_SOURCES = str(Path(__file__).parents[1] / "src")
if _SOURCES not in sys.path:
    sys.path.append(_SOURCES)
