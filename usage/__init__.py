"""The seller's commands: ``python -m usage``."""

import sys
from pathlib import Path

# The rules for what may be sent stand once, in metering_handlers.models; in a checkout that is under src/.
_SOURCES = str(Path(__file__).parents[1] / "src")
if _SOURCES not in sys.path:
    sys.path.append(_SOURCES)
