"""``write`` generates docs/openapi.json, ``check`` compares it, ``serve`` shows it in a browser."""

import argparse
import sys

from tools.openapi import document, reference


def main(command: str) -> int:
    """Run a command; the exit status is 1 if the file is not up to date."""
    if command == "serve":
        reference.serve()
    elif command == "write":
        document.FILE.write_text(document.text(), encoding="utf-8")
    elif not document.FILE.exists() or document.FILE.read_text(encoding="utf-8") != document.text():
        print("docs/openapi.json is not up to date. Run make openapi.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tools.openapi", description=__doc__)
    parser.add_argument("command", choices=("write", "check", "serve"))
    sys.exit(main(parser.parse_args().command))
