"""The app's configuration: the ``params`` of ``cdk.context.json``, validated."""

from __future__ import annotations

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

# RetentionInDays of AWS::Logs::LogGroup (AWS CloudFormation template reference).
_RETENTION_DAYS = (
    *(1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545),
    *(731, 1096, 1827, 2192, 2557, 2922, 3288, 3653),
)


class ConfigError(ValueError):
    """The configuration is invalid; the message says which parameter, and what to write instead."""


class Authorization(StrEnum):
    """Who may call the API."""

    IAM = "IAM"
    API_KEY = "API_KEY"
    NONE = "NONE"


class LogLevel(StrEnum):
    """Lowest level that the functions log."""

    INFO = "INFO"
    WARNING = "WARNING"
    ERROR = "ERROR"


class Architecture(StrEnum):
    """The functions' instruction set."""

    ARM_64 = "arm64"
    X86_64 = "x86_64"


class _Params(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Throttle(_Params):
    """Limit of requests; those beyond it are answered 429.

    Parameters
    ----------
    rate_per_second : int
        Requests per second, as a steady rate.
    burst : int
        Requests in a burst.
    """

    rate_per_second: Annotated[
        int, Field(strict=True, ge=1, le=10_000, description="a whole number of requests from 1 to 10000")
    ] = 100
    burst: Annotated[
        int, Field(strict=True, ge=1, le=5_000, description="a whole number of requests from 1 to 5000")
    ] = 200


class UsagePlan(Throttle):
    """Limits of the API key.

    Parameters
    ----------
    requests_per_day : int
        Quota of requests per day (UTC).
    """

    requests_per_day: Annotated[
        int, Field(strict=True, ge=1, description="a whole number of requests of at least 1")
    ] = 100_000


class Domain(_Params):
    """Custom domain name of the API.

    Parameters
    ----------
    name : str
        The host name.
    certificate_arn : str
        Certificate for it, in AWS Certificate Manager in the API's region.
    base_path : str | None
        Base path of the API, of one or several segments; without one, the API has the whole domain.
    hosted_zone_id, hosted_zone_name : str | None
        Route 53 hosted zone for the DNS record; without one, create the record by hand.
    keep_default_endpoint : bool
        Keep the default endpoint (execute-api) open.
    """

    name: Annotated[
        str,
        Field(
            strict=True,
            max_length=253,
            pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$",
            description='a host name in lower case, such as "metering.example.com"',
        ),
    ]
    certificate_arn: Annotated[
        str,
        Field(
            strict=True,
            pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[A-Za-z0-9-]+$",
            description="the ARN of a certificate (arn:aws:acm:<region>:<account>:certificate/<id>)",
        ),
    ]
    base_path: Annotated[
        str | None,
        Field(
            strict=True,
            pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$",
            max_length=300,
            description='a path such as "billing" or "billing/v1", without a slash at its ends',
        ),
    ] = None
    hosted_zone_id: Annotated[
        str | None,
        Field(strict=True, pattern=r"^[A-Z0-9]{1,32}$", description="the id of a Route 53 hosted zone"),
    ] = None
    hosted_zone_name: Annotated[
        str | None,
        Field(strict=True, min_length=1, description='the name of that zone, such as "example.com"'),
    ] = None
    keep_default_endpoint: Annotated[bool, Field(strict=True, description="true or false")] = False


def _check_network(cidr: str) -> str:
    network: IPv4Network | IPv6Network = ip_network(cidr)
    if network.prefixlen == 0:
        raise ValueError(cidr)
    return cidr


_NETWORK = 'a network in CIDR notation, such as "203.0.113.0/24", and not the whole internet'
_Network = Annotated[str, Field(strict=True), AfterValidator(_check_network)]


# UsageRecord.Dimension (AWS Marketplace Metering API reference).
_DIMENSION_NAME = "the API identifier of a dimension, 1 to 255 characters"
_DimensionName = Annotated[str, Field(strict=True, min_length=1, max_length=255)]


class Config(_Params):
    """Configuration of one deployment.

    Parameters
    ----------
    aws_region_name : str
        AWS region to deploy to, which is that of the metering table.
    metering_table_name : str
        Name of the DynamoDB table that the AWS Marketplace SaaS quickstart has created.
    authorization : Authorization
        Who may call: IAM identities of the account, holders of an API key, or everyone in ``allowed_cidrs``.
    usage_plan : UsagePlan
        Limits of the API key; only with ``API_KEY``.
    allowed_cidrs : tuple[str, ...]
        Networks that may call; if empty, all.
    throttle : Throttle
        Limits of all callers together.
    alarm_email : str | None
        Recipient of alarm notifications.
    log_level : LogLevel
        Lowest level that is logged; with ``WARNING`` or ``ERROR``, requests are not.
    log_retention_days : int
        Days for which logs are kept.
    idempotency_hours : int
        Hours for which an idempotency key is remembered; the API's contract is 24.
    transaction_id_days : int
        Days for which an entry's ``transaction_id`` is known, so that its usage is stored once.
    metering_table_kms_key_arn : str | None
        Customer managed key of the metering table, if it is encrypted with one.
    create_metering_table : bool
        Create the metering table, in a sandbox without the quickstart.
    set_api_gateway_account_role : bool
        Set the role with which API Gateway writes logs, for the whole account and region; false if another
        stack sets it.
    lambda_architecture : Architecture
        Instruction set; ``x86_64`` for a region without arm64.
    domain : Domain | None
        Custom domain name; without one, the API has the URL that API Gateway assigns.
    dimensions : tuple[str, ...]
        The product's dimensions; usage of others is refused. If empty, all are accepted.
    stack_name : str
        Name of the stack, from which the names of its resources and metrics derive; it distinguishes
        deployments for several products.
    waf : bool
        Protect the API with AWS WAF: managed rules, and a limit for each address.
    """

    aws_region_name: Annotated[
        str,
        Field(
            strict=True,
            pattern=r"^[a-z]{2}(-[a-z]+)+-\d$",
            description='the name of an AWS region, such as "us-east-1"',
        ),
    ]
    metering_table_name: Annotated[
        str,
        Field(
            strict=True,
            pattern=r"^[A-Za-z0-9_.-]{3,255}$",
            description="the name of the quickstart's DynamoDB table: 3 to 255 of A-Z a-z 0-9 _ . -",
        ),
    ]
    authorization: Annotated[Authorization, Field(description='"IAM", "API_KEY" or "NONE"')] = (
        Authorization.IAM
    )
    usage_plan: Annotated[
        UsagePlan, Field(description="an object with rate_per_second, burst and requests_per_day")
    ] = UsagePlan()
    allowed_cidrs: Annotated[
        tuple[_Network, ...], Field(description='a list of networks, such as ["203.0.113.0/24"]')
    ] = ()
    throttle: Annotated[Throttle, Field(description="an object with rate_per_second and burst")] = Throttle()
    alarm_email: Annotated[
        str | None,
        Field(strict=True, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$", description="an e-mail address"),
    ] = None
    log_level: Annotated[LogLevel, Field(description='"INFO", "WARNING" or "ERROR"')] = LogLevel.INFO
    log_retention_days: Annotated[
        int,
        Field(
            strict=True,
            description=f"one of {', '.join(map(str, _RETENTION_DAYS))}",
            json_schema_extra={"enum": [*_RETENTION_DAYS]},
        ),
    ] = 90
    idempotency_hours: Annotated[
        int,
        Field(strict=True, ge=24, le=720, description="a whole number of hours from 24 to 720 (30 days)"),
    ] = 24
    transaction_id_days: Annotated[
        int, Field(strict=True, ge=35, le=400, description="a whole number of days from 35 to 400")
    ] = 90
    metering_table_kms_key_arn: Annotated[
        str | None,
        Field(
            strict=True,
            pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$",
            description="the ARN of a KMS key (arn:aws:kms:<region>:<account>:key/<id>)",
        ),
    ] = None
    create_metering_table: Annotated[bool, Field(strict=True, description="true or false")] = False
    set_api_gateway_account_role: Annotated[bool, Field(strict=True, description="true or false")] = True
    lambda_architecture: Annotated[Architecture, Field(description='"arm64" or "x86_64"')] = (
        Architecture.ARM_64
    )
    waf: Annotated[bool, Field(strict=True, description="true or false")] = False
    domain: Annotated[
        Domain | None, Field(description="an object with name, certificate_arn and, optionally, base_path")
    ] = None
    dimensions: Annotated[
        tuple[_DimensionName, ...],
        Field(description='a list of the product\'s dimensions, such as ["metered_1_id", "metered_2_id"]'),
    ] = ()
    stack_name: Annotated[
        str,
        Field(
            strict=True,
            pattern=r"^[A-Za-z][A-Za-z0-9-]{0,127}$",
            description="the name of a CloudFormation stack: a letter, then up to 127 of A-Z a-z 0-9 -",
        ),
    ] = "cdk-apigw-marketplace-metering-records"

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
        if self.log_retention_days not in _RETENTION_DAYS:
            description = type(self).model_fields["log_retention_days"].description
            raise ValueError(
                f"params.log_retention_days must be {description}, not {self.log_retention_days}"
            )
        if self.authorization is Authorization.NONE and not self.allowed_cidrs:
            raise ValueError(
                'params.authorization "NONE" lets anybody write to your bill, so it needs '
                "params.allowed_cidrs: list the networks that may call"
            )
        if "usage_plan" in self.model_fields_set and self.authorization is not Authorization.API_KEY:
            raise ValueError('params.usage_plan needs params.authorization "API_KEY"')
        if self.create_metering_table and self.metering_table_kms_key_arn:
            raise ValueError(
                "params.metering_table_kms_key_arn is about an existing table; "
                "leave it out, or create_metering_table"
            )
        if self.domain:
            self._check_domain(self.domain)
        return self

    def _check_domain(self, domain: Domain) -> None:
        region = domain.certificate_arn.split(":")[3]
        if region != self.aws_region_name:
            raise ValueError(
                f"params.domain.certificate_arn is in {region}, but the API is in {self.aws_region_name} and "
                "needs a certificate in its own region: request one there"
            )
        if (domain.hosted_zone_id is None) != (domain.hosted_zone_name is None):
            raise ValueError("params.domain.hosted_zone_id and hosted_zone_name need each other: set both")
        zone = (domain.hosted_zone_name or domain.name).rstrip(".")
        if domain.name != zone and not domain.name.endswith(f".{zone}"):
            raise ValueError(
                f"params.domain.name is not in the zone of params.domain.hosted_zone_name: {domain.name} "
                f"does not end with .{zone}"
            )

    @classmethod
    def from_context(cls, params: object) -> Self:
        """Check the parameters.

        Parameters
        ----------
        params : object
            The value of the context key ``params``; JSON text, if it came by the CDK CLI's ``--context``.

        Raises
        ------
        ConfigError
            If a parameter is missing, unknown or wrong.
        """
        if params is None:
            raise ConfigError('cdk.context.json has no "params"; docs/configuration.md shows what it needs.')
        try:
            return cls.model_validate_json(params) if isinstance(params, str) else cls.model_validate(params)
        except ValidationError as error:
            problems = [
                _explain(line["type"], line["loc"], line["input"], line["msg"]) for line in error.errors()
            ]
            raise ConfigError("cdk.context.json: " + "; ".join(problems) + ".") from error


_SECTIONS: dict[str, type[_Params]] = {"usage_plan": UsagePlan, "throttle": Throttle, "domain": Domain}


def _explain(kind: str, path: tuple[int | str, ...], value: object, message: str) -> str:
    """Say what is wrong with one parameter, and what to write instead."""
    if not path:
        is_ours = kind == "value_error"
        return (
            message.removeprefix("Value error, ") if is_ours else f"params must be an object, not {value!r}"
        )
    name = ".".join(["params", *map(str, path)])
    if kind == "extra_forbidden":
        return f"{name} is not a known parameter; docs/configuration.md lists them"
    wanted = f"must be {_description(path)}"
    if kind == "missing":
        return f"{name} is missing; it {wanted}"
    placeholder = isinstance(value, str) and value.startswith("<") and value.endswith(">")
    hint = " (the placeholder was never filled in)" if placeholder else ""
    return f"{name} {wanted}, not {value!r}{hint}"


def _description(path: tuple[int | str, ...]) -> str | None:
    name, *rest = path
    match rest:
        case [int(), *_]:
            return _DIMENSION_NAME if name == "dimensions" else _NETWORK
        case [str(member), *_]:
            return _SECTIONS[str(name)].model_fields[member].description
        case _:
            return Config.model_fields[str(name)].description
