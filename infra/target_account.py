"""The account, region and configuration that a command of the CDK CLI would deploy to."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

import boto3

from infra.config import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

_CONTEXT_FILE = Path(__file__).parents[1] / "cdk.context.json"


@dataclass(frozen=True)
class TargetAccount:
    """An account and region, through a session with its credentials, and what is deployed there.

    Parameters
    ----------
    session : Session
        Credentials, and the configuration's region.
    config : Config
        The checked parameters.
    profile : str | None
        The profile that was named; None where the credentials come from the environment.
    """

    session: boto3.Session
    config: Config
    profile: str | None

    @classmethod
    def from_arguments(cls, arguments: Sequence[str]) -> Self:
        """Read the arguments that the CDK CLI gets, as far as they say where to deploy what.

        Parameters
        ----------
        arguments : Sequence[str]
            Arguments of ``cdk deploy``; only ``--profile`` and ``--context`` are looked at. The region is the
            configuration's, as in ``app.py``.

        Raises
        ------
        OSError
            If ``cdk.context.json`` cannot be read.
        ValueError
            If the configuration is not JSON or breaks a rule (:class:`~infra.config.ConfigError`).
        botocore.exceptions.BotoCoreError
            If there is no such profile.
        """
        parser = argparse.ArgumentParser(allow_abbrev=False, add_help=False)
        parser.add_argument("--profile")
        parser.add_argument("-c", "--context", action="append", default=[])
        known, _ = parser.parse_known_args(arguments)
        params: object = json.loads(_CONTEXT_FILE.read_text(encoding="utf-8")).get("params")
        for assignment in known.context:
            name, _, value = assignment.partition("=")
            if name == "params":
                params = value
        config = Config.from_context(params)
        session = boto3.Session(profile_name=known.profile, region_name=config.aws_region_name)
        return cls(session, config, known.profile)
