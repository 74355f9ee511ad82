"""The functions' environment, read and checked once at start."""

import os


class MissingSettingError(RuntimeError):
    """An environment variable that the function needs is absent or empty."""


def required(name: str) -> str:
    """Return the environment variable of that name.

    Raises
    ------
    MissingSettingError
        If it is absent or empty; the message names it.
    """
    value = os.environ.get(name, "").strip()
    if not value:
        raise MissingSettingError(
            f"The environment variable {name} is not set; the stack sets it on the function."
        )
    return value
