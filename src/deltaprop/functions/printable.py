"""Text from tables and files as it can be printed on a terminal."""

from __future__ import annotations

import unicodedata

CONTROLS = {"Cc", "Cs", "Zl", "Zp"}  # also halves of surrogate pairs and line separators
DIRECTIONS = set("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")  # of writing


def printable(text: object) -> str:
    r"""A text on one line, with escapes for all characters that control a terminal.

    Examples
    --------
    >>> print(printable("a\x1b[2Jb\nc"))
    a\x1b[2Jb\nc
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(_escaped(character) for character in shown)


def printable_lines(text: object) -> str:
    r"""The same for a text that may have several lines.

    Examples
    --------
    >>> print(printable_lines("a\x1b[2J\nb"))
    a\x1b[2J
    b
    """
    return "\n".join(map(printable, str(text).split("\n")))


def _escaped(character: str) -> str:
    if unicodedata.category(character) in CONTROLS or character in DIRECTIONS:
        return character.encode("unicode_escape", "surrogatepass").decode()
    return character
