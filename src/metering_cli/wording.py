"""Numbers and foreign text as both commands show them."""


def counted(number: int, noun: str) -> str:
    """Format a number with its noun, such as ``1,200 failures``."""
    return f"{number:,} {noun if number == 1 else f'{noun}s'}"


def printable(text: str, *, keep: str = "") -> str:
    """Escape control characters, which could control the terminal, and which a workbook cannot hold."""
    return "".join(
        character
        if character.isprintable() or character in keep
        else character.encode("unicode_escape").decode()
        for character in text
    )
