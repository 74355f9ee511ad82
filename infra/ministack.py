"""What the stack leaves out on the local cloud."""

from constructs import Node

CONTEXT_KEY = "local_cloud"
"""CDK context key; ``"true"`` leaves out what MiniStack 1.5.33 refuses, and nothing else:

- ``AWS::Logs::QueryDefinition`` and ``AWS::WAFv2::WebACLAssociation`` ("Unrecognized resource types"),
- ``Metrics`` of ``AWS::CloudWatch::Alarm`` ("metric math is not supported").
"""


def is_local_cloud(node: Node) -> bool:
    """Return whether the stack is deployed to the local cloud."""
    return bool(node.try_get_context(CONTEXT_KEY) == "true")
