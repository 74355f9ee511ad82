"""Start-up without looking for garbage; to be imported before everything else a function imports.

Importing makes objects that stay. Python's garbage collector would go through them again and again, for an
eighth of a cold start's time, and find nothing.
"""

import gc
import os

gc.disable()
# Looking for plugins, pydantic would read the metadata of every distribution on the path.
os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def finish() -> None:
    """Look for garbage again, and not among what start-up has made."""
    gc.freeze()
    gc.enable()
