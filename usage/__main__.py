"""The seller's commands: ``python -m usage import``."""

from __future__ import annotations

import signal

import click

from usage.import_command import import_command


@click.group()
def main() -> None:
    """Report AWS Marketplace usage through the metering API."""


main.add_command(import_command)

if __name__ == "__main__":
    # A shell that starts this in the background has it ignore Ctrl-C's signal.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main(prog_name="python -m usage")
