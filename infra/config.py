"""The app's configuration: the ``params`` of ``cdk.context.json``, checked."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

STACK_NAME = "cdk-apigw-marketplace-metering-records"


class ConfigError(ValueError):
    """The configuration is wrong; the message says which parameter, and what to write instead."""


class Config(BaseModel):
    """What a seller tells the app.

    Parameters
    ----------
    aws_region_name : str
        The AWS region to deploy to, where the metering table is.
    metering_table_name : str
        The name of the DynamoDB table that the AWS Marketplace SaaS quickstart has created.
    idempotency_hours : int
        How long a request's idempotency key is remembered; callers rely on the 24 hours of the contract.
    """

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    aws_region_name: Annotated[
        str,
        Field(
            pattern=r"^[a-z]{2}(-[a-z]+)+-\d$",
            description='the name of an AWS region, such as "us-east-1"',
        ),
    ]
    metering_table_name: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_.-]{3,255}$",
            description="the name of the quickstart's DynamoDB table: 3 to 255 of A-Z a-z 0-9 _ . -",
        ),
    ]

    idempotency_hours: Annotated[
        int, Field(ge=24, le=720, description="a whole number of hours from 24 to 720 (30 days)")
    ] = 24

    @classmethod
    def from_context(cls, params: object) -> Self:
        """Check the parameters.

        Parameters
        ----------
        params : object
            The value of the context key ``params``; None if there is none.

        Raises
        ------
        ConfigError
            If a parameter is missing, unknown or wrong.
        """
        if params is None:
            raise ConfigError('cdk.context.json has no "params"; the README shows what it needs.')
        try:
            return cls.model_validate(params)
        except ValidationError as error:
            problems = [
                cls._explain(line["type"], line["loc"], line["input"], line["msg"]) for line in error.errors()
            ]
            raise ConfigError("cdk.context.json: " + "; ".join(problems) + ".") from error

    @classmethod
    def _explain(cls, kind: str, path: tuple[int | str, ...], value: object, message: str) -> str:
        name = ".".join(["params", *map(str, path)])
        if kind == "extra_forbidden":
            return f"{name} is not a known parameter; the README lists them"
        field = cls.model_fields.get(str(path[0])) if path else None
        wanted = f"must be {field.description}" if field and field.description else message
        if kind == "missing":
            return f"{name} is missing; it {wanted}"
        placeholder = isinstance(value, str) and value.startswith("<") and value.endswith(">")
        hint = " (the placeholder was never filled in)" if placeholder else ""
        return f"{name} {wanted}, not {value!r}{hint}"
