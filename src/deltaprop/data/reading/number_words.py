"""Numbers as people write them: 1.234,56 and $1,234 and 12 % and (5).

A :class:`Convention` says which marks stand before decimals and between groups of three digits. The
words of a column show it: "1.234,5" can only be one of them. "1,234" could be two; then the other
columns of the table decide.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from jaxtyping import Float

SPACES = " \u00a0\u2009\u202f"
SYMBOLS = "$€£¥₹₽₺₩₪₴฿"
CODES = (
    "USD", "EUR", "GBP", "CHF", "JPY", "CAD", "AUD", "NZD", "CNY", "INR", "SEK", "NOK", "DKK",
    "PLN", "CZK", "HUF", "RUB", "TRY", "BRL", "MXN", "ZAR", "Fr.", "kr", "zł", "Kč",
)  # fmt: skip
UNIT = rf"(?:[{SYMBOLS}%‰]|{'|'.join(map(re.escape, CODES))})"
SIGN = "[-+−–]?"
WORD = re.compile(
    rf"(?P<open>\()?(?P<sign>{SIGN})[{SPACES}]*(?P<before>{UNIT})?[{SPACES}]*(?P<sign2>{SIGN})"
    rf"(?P<body>[0-9.,][0-9.,{SPACES}'’]*?)(?P<exponent>[eE][-+−]?[0-9]+)?"
    rf"[{SPACES}]*(?P<after>{UNIT})?(?P<close>\))?(?P<behind>-)?"
)
GROUPED = re.compile(r"-?[1-9][0-9]{0,2}([.,])[0-9]{3}(?:\1[0-9]{3})*")
SMALL = re.compile("-?[0-9]{1,3}")
SAMPLE = 1000  # words that show the convention of a column
PERCENT = {"%": 0.01, "‰": 0.001}


class Convention(NamedTuple):
    """The marks of numbers.

    Attributes
    ----------
    decimal : str
        "." or ",".
    thousands : str
        ".", ",", " " (any space), "'" (any apostrophe) or "" for none.
    """

    decimal: str
    thousands: str

    def used_in(self, words: Sequence[str]) -> Convention:
        """The convention without the marks that do not occur in these words."""
        has_decimals = self.decimal == "." or any("," in word for word in words)
        marks = {" ": SPACES, "'": "'’"}.get(self.thousands, self.thousands)
        has_groups = any(mark in word for mark in marks for word in words)
        return Convention(
            self.decimal if has_decimals else ".", self.thousands if has_groups else ""
        )

    def shown(self) -> str:
        """The convention in words."""
        words = []
        if self.decimal != ".":
            words.append(f"{self.decimal!r} as decimal mark")
        if self.thousands:
            mark = "a space" if self.thousands == " " else f"{self.thousands!r}"
            words.append(f"{mark} between thousands")
        return " and ".join(words)


PLAIN = Convention(".", "")
CONVENTIONS = (
    PLAIN, Convention(".", ","), Convention(",", "."), Convention(",", ""), Convention(".", " "),
    Convention(",", " "), Convention(".", "'"), Convention(",", "'"),
)  # fmt: skip


def described(conventions: Iterable[Convention]) -> list[str]:
    """How numbers are written, in words; empty if they are plain."""
    marks = {mark for found in conventions for mark in found.thousands}
    has_commas = any(found.decimal == "," for found in conventions)
    shown = [Convention("," if has_commas else ".", mark).shown() for mark in sorted(marks) or [""]]
    return [words for words in shown if words]


class Parsed(NamedTuple):
    """The numbers of words.

    Attributes
    ----------
    numbers : ndarray (n,)
        NaN for words that are not numbers.
    convention : Convention
    unit : str
        The sign or currency of all of them; "" for none.
    """

    numbers: Float[np.ndarray, " n"]
    convention: Convention
    unit: str


# ---------------------------------------------------------------- one word


class Parts(NamedTuple):
    """A word that looks like a number: its sign, digits with marks, exponent and unit."""

    negative: bool
    body: str
    exponent: str
    unit: str


@cache
def pattern_of(convention: Convention) -> re.Pattern[str]:
    """The digits of a number."""
    d = re.escape(convention.decimal)
    t = re.escape(convention.thousands)
    plain = rf"[0-9]+(?:{d}[0-9]*)?|{d}[0-9]+"
    if not t:
        return re.compile(plain)
    # Indian groups have two digits, except the last one.
    return re.compile(rf"[0-9]{{1,3}}(?:{t}[0-9]{{2,3}})*{t}[0-9]{{3}}(?:{d}[0-9]*)?|{plain}")


def parts_of(word: str) -> Parts | None:
    """The parts of a word, or None if it looks like no number.

    Examples
    --------
    >>> parts_of("-$1,234.50")
    Parts(negative=True, body='1,234.50', exponent='', unit='$')
    >>> parts_of("10:30") is None
    True
    """
    word = word.strip()
    if word.isdecimal():  # most numbers
        return Parts(False, word, "", "")
    found = WORD.fullmatch(word)
    if found is None or (found["open"] is None) != (found["close"] is None):
        return None
    signs = [found["sign"], found["sign2"], found["behind"] or "", found["open"] or ""]
    if sum(map(bool, signs)) > 1 or (found["before"] and found["after"]):
        return None
    negative = any(sign not in ("", "+") for sign in signs)
    body = found["body"].rstrip().replace("’", "'")
    for space in SPACES[1:]:
        body = body.replace(space, " ")
    exponent = (found["exponent"] or "").replace("−", "-")
    return Parts(negative, body, exponent, found["before"] or found["after"] or "")


def number_of(parts: Parts, convention: Convention) -> float | None:
    """The number, or None if its marks are those of another convention."""
    if pattern_of(convention).fullmatch(parts.body) is None:
        return None
    digits = parts.body.replace(convention.thousands, "") if convention.thousands else parts.body
    value = float(digits.replace(convention.decimal, ".") + parts.exponent)
    return -value if parts.negative else value


def is_number(word: str) -> bool:
    """Whether a word is a number in any convention, with or without a unit."""
    parts = parts_of(word)
    return parts is not None and any(pattern_of(c).fullmatch(parts.body) for c in CONVENTIONS)


def decimals_of(body: str) -> str:
    """The decimal mark that digits show: ".", ",", or "" if they could have either.

    Examples
    --------
    >>> decimals_of("1.234,5"), decimals_of("1,5"), decimals_of("0.125"), decimals_of("1.234")
    (',', ',', '.', '')
    """
    marks = [letter for letter in body if letter in ".,"]
    if not marks:
        return ""
    if len(set(marks)) == 2:
        return marks[-1] if marks.count(marks[-1]) == 1 else ""
    if len(marks) > 1:  # groups of three digits
        return "." if marks[0] == "," else ","
    left, right = re.split("[.,]", body)
    if " " in left or "'" in left:
        return marks[0]
    is_group = len(right) == 3 and 1 <= len(left) <= 3 and left[0] != "0"
    return "" if is_group else marks[0]


def mark_of_groups(words: Iterable[str]) -> str:
    """The mark between thousands of a column of whole numbers; "" if it shows none.

    In 987, 1.234 and 12.500 the dot is none of decimals: 987 and 1.2 would be written without zeros
    at the end, too, but all words with a dot have three digits behind it.

    Examples
    --------
    >>> mark_of_groups(["987", "1.234", "12.500", "2.750"]), mark_of_groups(["987", "1.234", "1.5"])
    ('.', '')
    """
    marked, plain, marks = 0, 0, set()
    for word in words:
        if found := GROUPED.fullmatch(word):
            marked += 1
            marks.add(found[1])
        elif SMALL.fullmatch(word):
            plain += 1
        else:
            return ""
    return marks.pop() if len(marks) == 1 and marked >= 3 and plain else ""


# ---------------------------------------------------------------- a table


def shown_decimal(words: Iterable[str]) -> str:
    """The decimal mark that most numbers among the words show; "" if they show none."""
    votes = Counter(_vote(parts) for word in words if (parts := parts_of(word)) is not None)
    if votes["."] == votes[","]:
        return ""
    return "." if votes["."] > votes[","] else ","


def _vote(parts: Parts) -> str:
    """The decimal mark that a number shows; "" for none, or if it is a number with neither."""
    mark = decimals_of(parts.body)
    others = {".": (",", " ", "'"), ",": (".", " ", "'"), "": ()}[mark]
    possible = any(number_of(parts, Convention(mark, other)) is not None for other in others)
    return mark if possible else ""


# ---------------------------------------------------------------- a column


def parse(words: Sequence[str], hint: Convention, fixed: bool = False) -> Parsed:
    """The numbers of the distinct words of a column.

    Parameters
    ----------
    words : sequence of str
        None of them is missing.
    hint : Convention
        That of the rest of the table, which decides if several are possible.
    fixed : bool, default=False
        Allow no other convention.

    Examples
    --------
    >>> parse(["1.234,5", "12 €"], hint=PLAIN).numbers.tolist()
    [1234.5, 12.0]
    """
    sample = [parts_of(word) for word in words[:: -(-len(words) // SAMPLE)]]
    unit = _common_unit(sample)
    usable = [part for part in sample if part and part.unit in ("", unit)]
    convention = hint if fixed else _best(usable, hint)
    found = digits_as_numbers(words, convention) if not unit else np.full(len(words), np.nan)
    for i in np.flatnonzero(np.isnan(found)).tolist():
        found[i] = _value(parts_of(words[i]), convention, unit)
    return Parsed(found, convention, unit)


def _value(parts: Parts | None, convention: Convention, unit: str) -> float:
    """The number of one word, or NaN."""
    if parts is None or parts.unit not in ("", unit):
        return np.nan
    value = number_of(parts, convention)
    if value is None or (unit in PERCENT and not parts.unit and value != 0):
        return np.nan  # 12 beside 12 % is something else
    return round(value * PERCENT[unit], 15) if unit in PERCENT else value


def digits_as_numbers(words: Any, convention: Convention) -> Float[np.ndarray, " n"]:
    """The numbers of words of digits and marks only, quickly; NaN for others and missing ones."""
    import pyarrow as pa
    import pyarrow.compute as pc

    digits = pa.array(words, pa.string())
    pattern = f"^-?(?:{pattern_of(convention).pattern})$"
    is_number = pc.match_substring_regex(digits, pattern)
    if convention.thousands:
        digits = pc.replace_substring(digits, convention.thousands, "")
    if convention.decimal != ".":
        digits = pc.replace_substring(digits, convention.decimal, ".")
    numbers = pc.cast(pc.if_else(is_number, digits, None), pa.float64())
    found: np.ndarray = numbers.to_numpy(zero_copy_only=False).copy()
    return found


def _common_unit(parts: Sequence[Parts | None]) -> str:
    units = [part.unit for part in parts if part is not None and part.unit]
    return max(set(units), key=units.count) if units else ""


def _best(known: Sequence[Parts], hint: Convention) -> Convention:
    """The convention under which most words are numbers; the hint, or a simple one, of equals."""

    mark = mark_of_groups(part.body for part in known if not part.exponent)

    def rank(convention: Convention) -> tuple[Any, ...]:
        matching = [part for part in known if number_of(part, convention) is not None]
        contradicted = sum(decimals_of(p.body) not in ("", convention.decimal) for p in matching)
        return (
            len(matching),
            -contradicted - (len(matching) if mark and convention.thousands != mark else 0),
            convention == hint,
            convention.decimal == hint.decimal,
            -len(convention.thousands),
        )

    return max(CONVENTIONS, key=rank)
