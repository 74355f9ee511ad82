"""The functions' environment, read and checked once at start."""

import os


class SettingError(RuntimeError):
    """An environment variable that the function needs is absent, empty or wrong."""


def required(name: str) -> str:
    """Return the environment variable of that name.

    Raises
    ------
    SettingError
        If it is absent or empty; the message names it.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise SettingError(f"The environment variable {name} is not set; the stack sets it on the function.")
    return value


def required_int(name: str) -> int:
    """Return the environment variable of that name as a positive whole number.

    Raises
    ------
    SettingError
        If it is absent, or not such a number; the message names it.
    """
    value = required(name)
    if not (value.isascii() and value.isdigit() and int(value) > 0):
        raise SettingError(f"The environment variable {name} must be a positive whole number, not {value!r}.")
    return int(value)
