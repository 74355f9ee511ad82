"""The app's configuration: the ``params`` of ``cdk.context.json``, validated."""

import json
from collections.abc import Iterable
from enum import StrEnum
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import ErrorDetails

from infra.partitions import Partition, partition_of
from metering_handlers.contract.deployment import DEFAULT_STACK_NAME, MIN_TRANSACTION_ID_DAYS
from metering_handlers.contract.identifiers import IdentifierKind


class ConfigError(ValueError):
    """The configuration is invalid; the message says which parameter, and what to write instead."""


def read_context(path: Path, assignments: Iterable[str] = ()) -> dict[str, object]:
    """Read ``cdk.context.json`` as the CDK CLI does, with the ``key=value`` of its ``--context`` on top.

    Raises ConfigError if the file is not JSON, and OSError if it cannot be read.
    """
    try:
        # Editors on Windows begin a file with a byte order mark.
        context: object = json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise ConfigError(f"{path.name} is not JSON: {error}.") from error
    values = context if isinstance(context, dict) else {}
    return values | {key: value for key, _, value in (pair.partition("=") for pair in assignments)}


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
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)


class Throttle(_Params):
    """Limit of requests; those beyond it are answered 429."""

    rate_per_second: int = Field(100, ge=1, le=10_000)
    """Requests per second, as a steady rate."""
    burst: int = Field(200, ge=1, le=5_000)
    """Requests in a burst."""


class UsagePlan(Throttle):
    """Limits of the API key."""

    requests_per_day: int = Field(100_000, ge=1)
    """Quota of requests per day (UTC)."""


class Domain(_Params):
    """Custom domain name of the API."""

    name: str = Field(max_length=253, pattern=r"^([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]{2,}$")
    """Host name in lower case, such as "metering.example.com"."""
    certificate_arn: str = Field(pattern=r"^arn:aws[a-z-]*:acm:[a-z0-9-]+:\d{12}:certificate/[A-Za-z0-9-]+$")
    """ARN of the certificate for it, in AWS Certificate Manager in the API's region."""
    base_path: str | None = Field(None, max_length=300, pattern=r"^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")
    """Base path of the API, such as "billing" or "billing/v1", without a slash at its ends; without one,
    the API has the whole domain."""
    hosted_zone_id: str | None = Field(None, pattern=r"^[A-Z0-9]{1,32}$")
    """Id of the Route 53 hosted zone for the DNS record; without one, create the record by hand."""
    hosted_zone_name: str | None = Field(None, min_length=1)
    """Name of that zone, such as "example.com"."""
    keep_default_endpoint: bool = False
    """Keep the default endpoint (execute-api) open."""


def _check_network(cidr: str) -> str:
    if ip_network(cidr).prefixlen == 0:
        raise ValueError("this is the whole internet")
    return cidr


def _check_region(name: str) -> str:
    partition_of(name)
    return name


# RetentionInDays of AWS::Logs::LogGroup (AWS CloudFormation template reference).
_Days = Literal[1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180]
_Years = Literal[365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653]


class Config(_Params):
    """Configuration of one deployment."""

    aws_region_name: Annotated[str, Field(pattern=r"^[a-z]+(-[a-z]+)+-\d+$"), AfterValidator(_check_region)]
    """AWS region to deploy to, such as "us-east-1"; it is that of the metering table."""
    metering_table_name: str = Field(pattern=r"^[A-Za-z0-9_.-]{3,255}$")
    """Name of the DynamoDB table that the AWS Marketplace SaaS quickstart has created."""
    subscribers_table_name: str | None = Field(None, pattern=r"^[A-Za-z0-9_.-]{3,255}$")
    """Name of the quickstart's table of subscribers, such as "AWSMarketplaceSubscribers"; usage of customers
    that it does not have is refused. If unset, customers are not looked up."""
    customer_identifiers: tuple[IdentifierKind, ...] = Field(tuple(IdentifierKind), min_length=1)
    """Kinds of customer identifiers that inserts accept."""
    authorization: Authorization = Authorization.IAM
    """Who may call: IAM identities of the account, holders of an API key, or everyone in allowed_cidrs."""
    usage_plan: UsagePlan = UsagePlan()
    """Limits of the API key; only with API_KEY."""
    allowed_cidrs: tuple[Annotated[str, AfterValidator(_check_network)], ...] = ()
    """Networks that may call, in CIDR notation such as "203.0.113.0/24"; if empty, all. With an IPv6 network
    among them, the API is dual-stack."""
    throttle: Throttle = Throttle()
    """Limits of all callers together."""
    alarm_email: str | None = Field(None, pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$")
    """E-mail address to which alarms are sent."""
    expected_usage_hours: int | None = Field(None, ge=1, le=168)
    """Hours without an inserted record after which the alarm NothingInserted goes off; if unset, it never
    does."""
    job_records_per_hour: int = Field(1_000, ge=100, le=6_000)
    """Records that the quickstart's hourly job can bill in an hour; the alarm PendingBacklog goes off if more
    wait. The default is right for the job as the quickstart deploys it."""
    log_level: LogLevel = LogLevel.INFO
    """Lowest level that is logged; with WARNING or ERROR, requests are not."""
    log_retention_days: Literal[_Days, _Years] = 90
    """Days for which logs are kept."""
    idempotency_hours: int = Field(24, ge=24, le=720)
    """Hours for which an idempotency key is remembered; the API's contract is 24."""
    transaction_id_days: int = Field(90, ge=MIN_TRANSACTION_ID_DAYS, le=400)
    """Days for which an entry's transaction_id is known, so that its usage is stored once."""
    metering_table_kms_key_arn: str | None = Field(
        None, pattern=r"^arn:aws[a-z-]*:kms:[a-z0-9-]+:\d{12}:key/[A-Za-z0-9-]+$"
    )
    """ARN of the metering table's customer managed key, if it is encrypted with one; the table of subscribers
    may use the same one."""
    create_metering_table: bool = False
    """Create the metering table, in a sandbox without the quickstart."""
    set_api_gateway_account_role: bool = True
    """Set the role with which API Gateway writes logs, for the whole account and region; false if another
    stack sets it."""
    lambda_architecture: Architecture = Architecture.ARM_64
    """Instruction set of the functions; x86_64 for a region without arm64."""
    waf: bool = False
    """Protect the API with AWS WAF: managed rules, and a limit for each address."""
    domain: Domain | None = None
    """Custom domain name; without one, the API has the URL that API Gateway assigns."""
    # UsageRecord.Dimension (AWS Marketplace Metering API reference).
    dimensions: tuple[Annotated[str, Field(min_length=1, max_length=255)], ...] = ()
    """The product's dimensions, such as "metered_1_id"; usage of others is refused. If empty, all are
    accepted."""
    stack_name: str = Field(DEFAULT_STACK_NAME, pattern=r"^[A-Za-z][A-Za-z0-9-]{0,127}$")
    """Name of the stack, from which the names of its resources and metrics derive; it distinguishes
    deployments for several products."""

    @property
    def partition(self) -> Partition:
        """Partition of the region."""
        return partition_of(self.aws_region_name)

    @property
    def is_dual_stack(self) -> bool:
        """Whether the API can be reached by IPv6."""
        return any(ip_network(cidr).version == 6 for cidr in self.allowed_cidrs)

    @model_validator(mode="after")
    def _check_combinations(self) -> Self:
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
        """Check the context key ``params``, which is JSON text if it came by ``--context``.

        Raises ConfigError if parameters are missing, unknown or wrong; the message names all of them.
        """
        if params is None:
            raise ConfigError('cdk.context.json has no "params"; docs/configuration.md shows what it needs.')
        try:
            return cls.model_validate_json(params if isinstance(params, str) else json.dumps(params))
        except ValidationError as error:
            raise ConfigError("cdk.context.json: " + " ".join(map(_explain, error.errors()))) from error


_SECTIONS: dict[str, type[_Params]] = {"usage_plan": UsagePlan, "throttle": Throttle, "domain": Domain}


def _explain(error: ErrorDetails) -> str:
    """Say what is wrong with one parameter, and what it means."""
    path, value, message = error["loc"], error["input"], error["msg"].removeprefix("Value error, ")
    if not path:
        return (
            f"{message}." if error["type"] == "value_error" else f"params must be an object, not {value!r}."
        )
    name = ".".join(["params", *map(str, path)])
    if error["type"] == "extra_forbidden":
        return f"{name} is not a known parameter; docs/configuration.md lists them."
    section = _SECTIONS.get(str(path[0])) if len(path) > 1 else None
    field = section.model_fields[str(path[1])] if section else Config.model_fields[str(path[0])]
    if error["type"] == "missing":
        return f"{name} is missing. {field.description}"
    is_placeholder = isinstance(value, str) and value.startswith("<") and value.endswith(">")
    hint = " (the placeholder was never filled in)" if is_placeholder else ""
    return f"{name} cannot be {value!r}{hint}: {message}. {field.description}"
