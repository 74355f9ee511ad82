"""The OpenAPI document, generated from the functions, and a page to read it and try the API."""

import sys

from tools.local_cloud.steps import PROJECT

# The functions are not installed in this environment.
sys.path.insert(0, str(PROJECT / "src"))
