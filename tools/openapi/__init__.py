"""The OpenAPI document, generated from the functions, and a page to read it and try the API."""

import sys

from tools.local_cloud.steps import PROJECT

# The functions are no package of this environment; the stack ships them from there.
sys.path.insert(0, str(PROJECT / "src"))
