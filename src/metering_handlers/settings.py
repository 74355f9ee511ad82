"""Environment variables of the functions, read and validated once at start-up."""

import os
from enum import StrEnum
from typing import TypeVar

E = TypeVar("E", bound=StrEnum)


class SettingError(RuntimeError):
    """A required environment variable is missing, empty or invalid; the message names it."""


def optional(name: str) -> str | None:
    """Return the environment variable of that name; None if it is missing or empty."""
    return os.environ.get(name, "").strip() or None


def required(name: str) -> str:
    """Return the environment variable of that name, which must not be missing or empty."""
    value = optional(name)
    if value is None:
        raise SettingError(f"The environment variable {name} is not set; the stack sets it on the function.")
    return value


def required_int(name: str) -> int:
    """Return the environment variable of that name, which must be a positive whole number."""
    value = required(name)
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise SettingError(f"The environment variable {name} must be a positive whole number, not {value!r}.")
    return int(value)


def choices(name: str, enum: type[E]) -> frozenset[E]:
    """Return the members that the variable names, comma-separated; all if it is missing or empty."""
    given = optional(name)
    try:
        return frozenset(enum(value.strip()) for value in given.split(",")) if given else frozenset(enum)
    except ValueError as error:
        raise SettingError(f"The environment variable {name} takes {', '.join(enum)}: {error}.") from error
