"""``write`` generates docs/openapi.json, ``check`` compares it, ``serve`` shows it in a browser."""

from __future__ import annotations

import argparse
import sys

from tools.openapi import document, reference

_SHOWN_LINES = 40


def main() -> int:
    """Run the command line.

    Returns
    -------
    int
        The exit status: 1 if the file is not up to date.
    """
    parser = argparse.ArgumentParser(prog="python -m tools.openapi", description=__doc__)
    parser.add_argument("command", choices=("write", "check", "serve"))
    match parser.parse_args().command:
        case "write":
            document.FILE.write_text(document.text())
        case "check":
            return _check()
        case "serve":
            reference.serve()
    return 0


def _check() -> int:
    drift = document.drift().splitlines()
    if not drift:
        return 0
    print("\n".join(drift[:_SHOWN_LINES]), file=sys.stderr)
    if len(drift) > _SHOWN_LINES:
        print(f"… and {len(drift) - _SHOWN_LINES} more lines.", file=sys.stderr)
    print("docs/openapi.json is not up to date. Run make openapi.", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
