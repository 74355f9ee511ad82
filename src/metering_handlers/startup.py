"""Disables garbage collection during start-up; to be imported before all other modules of a function.

Objects created during import are kept. Collecting garbage among them takes an eighth of a cold start's time
and finds nothing.
"""

import gc
import os

gc.disable()
# To find plugins, pydantic would read the metadata of every distribution on the path.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def finish() -> None:
    """Re-enable garbage collection and exempt the objects created during import.

    It runs less often than by default: what a bulk request creates is needed until its end, and searching it
    for garbage takes a sixth of the request's CPU.
    """
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()
