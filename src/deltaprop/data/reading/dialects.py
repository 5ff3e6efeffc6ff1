"""Detect how lines of text are divided into cells.

Each separator is tried on the first lines. The best one divides all lines into the same number of
cells, which look like whole values: numbers, dates, words without other separators in them (after
van den Burg, Nazábal and Sutton, 2019, "Wrangling messy CSV files by detecting row and type
patterns").
"""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from deltaprop.data.reading.number_words import parts_of

SEPARATORS = (",", ";", "\t", "|")
NAMES = {"\t": "a tab", " ": "spaces"}
ROWS = 100  # that are looked at
LEAST_CONSISTENT = 0.7  # fraction of the rows that have the same number of cells
HINT = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # Excel's first line
FRACTION = re.compile(r"[0-9]+(?:\.[0-9]+)?")
MANY = 5  # increasing numbers in the first row, which are then names
PART_OF_NAME = re.compile(r"[0-9]{1,3}(?:\.[0-9]+)+|[0-9]+[.,][0-9]+|[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Dialect(NamedTuple):
    """How lines are divided into cells.

    Attributes
    ----------
    sep : str
        One character; " " stands for any number of spaces.
    quote : str
        The quotation mark.
    escape : str or None
        What stands before a quotation mark within a cell; None if it is doubled.
    skip : int
        Lines before the names of the columns.
    names : tuple of str
        The names of the columns.
    has_names : bool
        Whether they are in the file.
    shift : int
        How many more cells the rows have than names.
    rows : tuple of tuple of str
        The first rows.
    """

    sep: str
    quote: str
    escape: str | None
    skip: int
    names: tuple[str, ...]
    has_names: bool
    shift: int
    rows: tuple[tuple[str, ...], ...]

    @property
    def shown_sep(self) -> str:
        """The separator for a message."""
        return NAMES.get(self.sep, repr(self.sep))


class _Lines(NamedTuple):
    """Rows of cells, and the line in which each begins."""

    rows: list[list[str]]
    starts: list[int]
    quote: str
    escape: str | None
    sep: str

    @property
    def width(self) -> int:
        """The usual number of cells in a row."""
        counts = Counter(len(row) for row in self.rows)
        return max(counts, key=lambda width: (counts[width], width))


def detect(text: str, is_whole: bool, sep: str | None = None) -> Dialect:
    """The dialect of the beginning of a file.

    Parameters
    ----------
    text : str
    is_whole : bool
        Whether this is the whole file; otherwise its last line may be incomplete.
    sep : str, optional
        The separator, if it is known.

    Examples
    --------
    >>> found = detect("name;x\\nAnn;1,5\\nBen;2,5\\n", True)
    >>> found.sep, found.names
    (';', ('name', 'x'))
    """
    first, _, rest = text.partition("\n")
    hint = HINT.fullmatch(first)
    skip = 0
    if hint:
        text, sep, skip = rest, sep or hint[1], 1
    best = _best(text, is_whole, sep)
    return _described(best, skip)


# ---------------------------------------------------------------- candidates


def _best(text: str, is_whole: bool, sep: str | None) -> _Lines:
    possible = SEPARATORS if sep is None else (sep,)
    candidates = [
        _split(text, is_whole, mark, quote, escape)
        for mark in possible
        if mark in text
        for quote, escape in _quotes(text, mark)
    ]
    candidates = [lines for lines in candidates if _consistency(lines) > 0]
    if len(candidates) == 1:
        return candidates[0]
    if candidates:
        return max(candidates, key=_score)
    if sep is not None:
        return _split(text, is_whole, sep, '"', None)
    spaced = _split(text, is_whole, " ", '"', None)
    return spaced if _consistency(spaced) > 0 else _one_column(text, is_whole)


def _quotes(text: str, sep: str) -> list[tuple[str, str | None]]:
    """The ways of quotation that the text may have; the first one is preferred."""
    found: list[tuple[str, str | None]] = [('"', None)]
    if '\\"' in text:
        found.append(('"', "\\"))
    begin = len(re.findall(rf"(?m)(?:^|{re.escape(sep)})'", text))
    end = len(re.findall(rf"(?m)'(?:$|{re.escape(sep)})", text))
    if begin == end > 0:
        found.append(("'", None))
    return found


def _split(text: str, is_whole: bool, sep: str, quote: str, escape: str | None) -> _Lines:
    if sep == " ":
        text = re.sub("(?m)^ +| +$", "", re.sub(" +", " ", text))
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=sep, quotechar=quote, escapechar=escape,
        doublequote=escape is None, skipinitialspace=sep != "\t",
    )  # fmt: skip
    rows, starts, before = [], [], 0
    try:
        for row in reader:
            if any(cell.strip() for cell in row):
                rows.append([cell.strip() for cell in row])
                starts.append(before)
            before = reader.line_num
            if len(rows) == ROWS + 1:
                break
    except csv.Error:  # a cell that is too long: a quotation mark that is not closed
        return _Lines([[""]], [0], quote, escape, sep)
    if len(rows) > 1 and (not is_whole or len(rows) > ROWS):
        rows, starts = rows[:-1], starts[:-1]
    return _Lines(rows, starts, quote, escape, sep)


def _one_column(text: str, is_whole: bool) -> _Lines:
    """Lines that are not divided: by a separator that does not occur in them."""
    counts = {sep: text.count(sep) for sep in (*SEPARATORS, "\x1f")}
    sep = min(counts, key=lambda sep: counts[sep])
    return _split(text, is_whole, sep, '"', None)


def _consistency(lines: _Lines) -> float:
    """How well rows agree in their number of cells, in [0, 1]; 0 if this is no table."""
    body = lines.rows[_first_row(lines) :]
    width = lines.width
    if width < 2 or not body:
        return 0.0
    consistent = sum(len(row) == width for row in body) / len(body)
    if consistent < LEAST_CONSISTENT or abs(len(body[0]) - width) > 1:
        return 0.0
    if lines.sep == " " and consistent < 1:
        return 0.0  # words of a text
    agreement = 1.0 if len(body[0]) == width else 0.9
    if len(body) < len(lines.rows):
        # Lines are skipped, so that the next one must have names; a comment need not be divided.
        comments = all(row[0].startswith("#") for row in lines.rows[: -len(body)])
        agreement *= 1.0 if comments else 0.0 if _has_numbers(body[0]) else 0.5
    return consistent * consistent * agreement


def _score(lines: _Lines) -> float:
    """How well rows look like a table, in [0, 1]."""
    width = lines.width
    cells = [cell for row in lines.rows[_first_row(lines) :] if len(row) == width for cell in row]
    whole = sum(map(_wholeness, cells)) / len(cells)
    wide = 1.0 - 0.1 / (width + 1)  # of equals, the one with more cells
    return _consistency(lines) * whole * wide


def _has_numbers(row: Sequence[str]) -> bool:
    return any(parts_of(cell) is not None for cell in row)


def _wholeness(cell: str) -> float:
    """How much a cell looks like one value rather than several or a part of one, in [0, 1]."""
    if not cell or parts_of(cell) is not None:
        return 1.0
    if cell[0] == '"' or cell[-1] == '"':
        return 0.0
    if not any(sep in cell for sep in (";", "\t", "|")):
        return 1.0
    return 0.5 if any(map(str.isalpha, cell)) else 0.0


# ---------------------------------------------------------------- the names of the columns


def _first_row(lines: _Lines) -> int:
    """The index of the first row of the table, behind titles and comments."""
    width = lines.width
    for i, row in enumerate(lines.rows):
        filled = sum(map(bool, row))
        if row[0].startswith("#") and not _is_marked_header(lines.rows, i, width):
            continue
        if len(row) >= width - 1 and (filled >= 2 or width == 1 or len(row) == width == 2):
            return i
    return 0


def _is_marked_header(rows: Sequence[Sequence[str]], i: int, width: int) -> bool:
    """Whether a line that begins with # has the names of the columns."""
    following = rows[i + 1] if i + 1 < len(rows) else []
    return len(rows[i]) == width > 1 and any(parts_of(cell) is not None for cell in following)


def _described(lines: _Lines, skip: int) -> Dialect:
    if not lines.rows:
        return Dialect(lines.sep, lines.quote, lines.escape, skip, (), True, 0, ())
    first = _first_row(lines)
    header, body = lines.rows[first], lines.rows[first + 1 :]
    skip += lines.starts[first]
    has_names = not _is_data(header, body)
    shift = lines.width - len(header) if lines.width == len(header) + 1 else 0
    names = tuple(header)
    if not has_names:
        names = tuple(f"column_{i + 1}" for i in range(len(header)))
        body = [header, *body]
    return Dialect(
        lines.sep, lines.quote, lines.escape, skip, names, has_names, shift, tuple(map(tuple, body))
    )


def _is_data(header: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the first row is data: it has fractions or dates, and nothing speaks for names."""
    if not any(PART_OF_NAME.fullmatch(cell.lstrip("+-")) for cell in header):
        return False
    for name, *cells in zip(header, *body[:10], strict=False):
        if name and parts_of(name) is None and all(parts_of(cell) is not None for cell in cells):
            return False  # a word above numbers
    numbers = [float(cell) for cell in header if FRACTION.fullmatch(cell)]
    is_scale = len(numbers) >= MANY and all(a < b for a, b in pairwise(numbers))
    return not is_scale  # such as the wavelengths of a spectrum
