"""The seller's commands: ``metering import`` and ``metering report``."""

import io
import os
import signal
import sys

import click

from metering_cli.importing.command import import_command
from metering_cli.reporting.command import report_command

_NOT_COMPLETED = 3


class _Commands(click.Group):
    def invoke(self, context: click.Context) -> object:
        """Run a command; a full disk or a closed pipe has an exit code that says nothing of the usage."""
        try:
            return super().invoke(context)
        except OSError as error:
            # Python would write what is left when it exits, and fail again.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            click.echo(
                f"The output cannot be written: {error.strerror or error}. Run the command again.", err=True
            )
            sys.exit(_NOT_COMPLETED)


@click.group(cls=_Commands, commands=[import_command, report_command])
@click.version_option(package_name="marketplace-metering-api")
def main() -> None:
    """Send AWS Marketplace usage to the metering API, and report its outcome."""
    # A process that a shell starts in the background ignores SIGINT.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Names of dimensions may have characters that the output's encoding lacks.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main(prog_name="metering")
