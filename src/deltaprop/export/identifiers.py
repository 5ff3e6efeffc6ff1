"""Names of columns and files as identifiers of C and Python."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePath

from deltaprop.errors import InputError

IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
C_KEYWORDS = frozenset(
    """
    auto break case char const continue default do double else enum extern float for goto if inline
    int long register restrict return short signed sizeof static struct switch typedef union
    unsigned void volatile while
    alignas alignof and and_eq asm bitand bitor bool catch class compl concept const_cast constexpr
    decltype delete dynamic_cast explicit export false friend mutable namespace new noexcept not
    not_eq nullptr operator or or_eq private protected public reinterpret_cast requires
    static_assert static_cast template this thread_local throw true try typeid typename typeof using
    virtual wchar_t xor xor_eq
    """.split()  # noqa: SIM905
)  # those of C++ as well, whose programs may include the header
MACROS = ("NAN", "INFINITY", "NULL", "errno", "signbit", "isnan", "isinf", "isfinite", "isnormal")


def identifiers(names: Iterable[str]) -> list[str]:
    """A distinct identifier for each name, which is the name itself if it can be.

    Examples
    --------
    >>> identifiers(["size", "size (m²)", "größe", "2nd", "int", "", "size_m2"])
    ['size', 'size_m2', 'groe', '_2nd', 'int_', '_', 'size_m2_2']
    """
    used: set[str] = set()
    found = []
    for name in names:
        stem = _identifier(name)
        word, number = stem, 1
        while word in used:
            number += 1
            word = f"{stem}_{number}"
        used.add(word)
        found.append(word)
    return found


def prefix_of(path: str, name: str | None) -> str:
    """The prefix of all names in a file: the one that is given, or that of the file.

    Raises
    ------
    ValueError
        If the given one is no identifier.

    Examples
    --------
    >>> prefix_of("models/penguins-v2.h", None)
    'penguins_v2'
    """
    if name is None:
        return _identifier(PurePath(path).name.partition(".")[0]).lower()
    if not isinstance(name, str) or not IDENTIFIER.fullmatch(name) or name in C_KEYWORDS:
        raise InputError(
            f"name must be an identifier of letters, digits and underscores; got {name!r}."
        )
    return name


def _identifier(name: str) -> str:
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    word = re.sub(r"\W+", "_", ascii_only).strip("_")
    if word != name and IDENTIFIER.fullmatch(name) and name.isascii():
        word = name
    if not word or word[0].isdigit():
        word = f"_{word}"
    return f"{word}_" if word in C_KEYWORDS or word in MACROS else word
