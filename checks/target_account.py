"""The account, region and configuration that a command of the CDK CLI would deploy to."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3

from infra.config import Config, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTEXT_FILE = Path(__file__).parents[1] / "cdk.context.json"
_QUALIFIER = "@aws-cdk/core:bootstrapQualifier"
DEFAULT_QUALIFIER = "hnb659fds"
"""The names of what ``cdk bootstrap`` creates have it (AWS CDK, ``DefaultStackSynthesizer``)."""


@dataclass(frozen=True)
class TargetAccount:
    """Account and region, as a session with credentials, and the configuration to deploy.

    Parameters
    ----------
    session : Session
        Credentials, and the configuration's region.
    config : Config
        The checked parameters.
    profile : str | None
        The profile that was named; None where the credentials come from the environment.
    bootstrap_qualifier : str
        Distinguishes what ``cdk bootstrap`` has created, where it was run more than once.
    """

    session: boto3.Session
    config: Config
    profile: str | None
    bootstrap_qualifier: str

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Self:
        """Read those of the CDK CLI's arguments that say what to deploy, and where.

        Parameters
        ----------
        arguments : Sequence[str]
            Arguments of ``cdk deploy``; only ``--profile``, ``--region`` and ``--context`` are used. The
            region is the configuration's, as in ``app.py``.

        Raises
        ------
        OSError
            If ``cdk.context.json`` cannot be read.
        ValueError
            If the configuration is not JSON, breaks a rule, or is for another region than ``--region``.
        botocore.exceptions.BotoCoreError
            If there is no such profile.
        """
        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        parser.add_argument("--profile")
        parser.add_argument("--region")
        parser.add_argument("-c", "--context", action="append", default=[])
        known, _ = parser.parse_known_args(arguments)
        context = _context_in_file()
        for assignment in known.context:
            name, _, value = assignment.partition("=")
            context[name] = value
        config = Config.from_context(context.get("params"))
        if known.region not in {None, config.aws_region_name}:
            raise ConfigError(
                f"--region {known.region} has no effect: the CDK deploys to params.aws_region_name, which is "
                f"{config.aws_region_name}. Change that instead."
            )
        session = boto3.Session(profile_name=known.profile, region_name=config.aws_region_name)
        return cls(session, config, known.profile, str(context.get(_QUALIFIER, DEFAULT_QUALIFIER)))


def _context_in_file() -> dict[str, object]:
    try:
        context: object = json.loads(_CONTEXT_FILE.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(f"{_CONTEXT_FILE.name} is not JSON: {error}.") from error
    return context if isinstance(context, dict) else {}
