"""The seller's commands: ``metering import`` and ``metering report``."""

from __future__ import annotations

import signal

import click

from metering_cli.importing.command import import_command
from metering_cli.reporting.command import report_command


@click.group()
@click.version_option(package_name="marketplace-metering-api")
def main() -> None:
    """Send AWS Marketplace usage to the metering API, and report its outcome."""
    # A process that a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)


main.add_command(import_command)
main.add_command(report_command)

if __name__ == "__main__":
    main(prog_name="metering")
