"""AWS's partitions, by botocore's own data, and in what they differ."""

import re
from functools import cache
from typing import NamedTuple

from botocore.loaders import Loader

# AWS documents that GovCloud lacks them ("Amazon API Gateway in AWS GovCloud (US)", AWS GovCloud (US) User
# Guide), and says nothing of the partitions that are not here.
_WITH_ENHANCED_TLS = ("aws", "aws-cn")


class Partition(NamedTuple):
    """A partition of AWS."""

    dns_suffix: str
    """Domain of its endpoints."""
    has_enhanced_tls: bool
    """Whether API Gateway has the security policies whose names begin with SecurityPolicy."""


@cache
def partition_of(region: str) -> Partition:
    """Return the region's partition, by a pattern that fits regions newer than botocore.

    Raises ValueError if no partition has a region of that name.
    """
    for partition in Loader().load_data("partitions")["partitions"]:
        if re.fullmatch(partition["regionRegex"], region):
            return Partition(partition["outputs"]["dnsSuffix"], partition["id"] in _WITH_ENHANCED_TLS)
    raise ValueError("no partition of AWS has a region of that name")
