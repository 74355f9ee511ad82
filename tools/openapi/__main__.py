"""``write`` generates docs/openapi.json, ``check`` compares it, ``serve`` shows it in a browser."""

import argparse
import sys

from tools.generated_file import write_or_check
from tools.openapi import document, reference


def main(command: str) -> int:
    """Run a command; the exit status is 1 if the file is not up to date."""
    if command == "serve":
        reference.serve()
        return 0
    advice = "docs/openapi.json is not up to date. Run make openapi."
    return write_or_check(command, document.FILE, document.text(), advice)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.openapi", description=__doc__)
    parser.add_argument("command", choices=("write", "check", "serve"))
    sys.exit(main(parser.parse_args().command))
