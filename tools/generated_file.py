"""Files that are generated, and kept in the repository for those who read them there."""

import sys
from pathlib import Path


def write_or_check(command: str, file: Path, text: str, advice: str) -> int:
    """Write a file, or print the advice and return the exit status 1 if it is not up to date."""
    if command == "write":
        file.write_text(text, encoding="utf-8")
    elif not file.exists() or file.read_text(encoding="utf-8") != text:
        print(advice, file=sys.stderr)
        return 1
    return 0
