"""AWS's partitions, by botocore's own data, and in what they differ."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

from botocore.loaders import Loader

# AWS documents that GovCloud lacks them ("Amazon API Gateway in AWS GovCloud (US)", AWS GovCloud (US) User
# Guide), and says nothing of the partitions that are not here.
_WITH_ENHANCED_TLS = ("aws", "aws-cn")


class Partition(NamedTuple):
    """A partition of AWS."""

    name: str
    dns_suffix: str
    """Domain of its endpoints."""

    @property
    def has_enhanced_tls(self) -> bool:
        """Whether API Gateway has the security policies whose names begin with SecurityPolicy."""
        return self.name in _WITH_ENHANCED_TLS


@cache
def partition_of(region: str) -> Partition:
    """Return the region's partition, by a pattern that fits regions newer than botocore.

    Raises
    ------
    ValueError
        If no partition has a region of that name.
    """
    for partition in Loader().load_data("partitions")["partitions"]:
        if re.fullmatch(partition["regionRegex"], region):
            return Partition(partition["id"], partition["outputs"]["dnsSuffix"])
    raise ValueError("no partition of AWS has a region of that name")
