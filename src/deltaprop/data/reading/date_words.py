"""Whether the day or the month comes first in 03/04/2024."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

DATE = re.compile(r"([0-9]{1,2})([./-])([0-9]{1,2})\2([0-9]{4}|[0-9]{2})(?:[ T,].*)?")
ANY = (  # the same without references to a group, which RE2 does not have
    "(?:[0-9]{4}[./-][0-9]{1,2}[./-][0-9]{1,2}|[0-9]{1,2}[./-][0-9]{1,2}[./-](?:[0-9]{4}|[0-9]{2}))"
    "(?:[ T,].*)?"
)
ISO = re.compile(r"[0-9]{4}([./-])[0-9]{1,2}\1[0-9]{1,2}(?:[ T].*)?")
DAY, MONTH, EITHER = "day", "month", "either"


def has_order(word: str) -> bool:
    """Whether a word is a date in which the day or the month comes first."""
    return DATE.fullmatch(word) is not None


def is_date(word: str) -> bool:
    """Whether a word looks like a date in digits."""
    return DATE.fullmatch(word) is not None or ISO.fullmatch(word) is not None


def order_of(words: Iterable[str]) -> str | None:
    """ "day" or "month" for what comes first in these dates, "either", or None for no dates.

    Dots are German: the day comes first.

    Examples
    --------
    >>> order_of(["03/04/2024", "31/01/2024"]), order_of(["03/04/2024"]), order_of(["2024-01-31"])
    ('day', 'either', None)
    """
    first, second, marks = 0, 0, set()
    for word in words:
        found = DATE.fullmatch(word)
        if found is None:
            return None
        first, second = max(first, int(found[1])), max(second, int(found[3]))
        marks.add(found[2])
    if not marks or min(first, second) > 12 or max(first, second) > 31:
        return None
    if first > 12 or marks == {"."}:
        return DAY if second <= 12 else None
    return MONTH if second > 12 else EITHER


def has_short_years(words: Sequence[str]) -> bool:
    """Whether the years of dates have two digits."""
    found = DATE.fullmatch(words[0])
    return found is not None and len(found[4]) == 2


def iso_dates(words: Sequence[str], first: str) -> list[str]:
    """Dates with the day or the month first as 2024-01-31; what comes behind the date remains.

    Examples
    --------
    >>> iso_dates(["03/04/2024", "3/4/24 10:30"], DAY)
    ['2024-04-03', '2024-04-03 10:30']
    """
    return [_iso(word, first) for word in words]


def _iso(word: str, first: str) -> str:
    found = DATE.fullmatch(word)
    if found is None:
        return word
    day, month, year = int(found[1]), int(found[3]), int(found[4])
    if first == MONTH:
        day, month = month, day
    if len(found[4]) == 2:
        year += 2000 if year < 69 else 1900  # as in C and Python
    return f"{year:04}-{month:02}-{day:02}{word[found.end(4) :]}"
