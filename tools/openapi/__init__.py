"""The API's contract: ``docs/openapi.json``, made from the functions, and the page to read and try it."""

import sys

from tools.local_cloud.steps import PROJECT

# The functions are no package of this environment; the stack ships them from there.
sys.path.insert(0, str(PROJECT / "src"))
