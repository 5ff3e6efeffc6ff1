"""Read text: comma-separated values and their relatives."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any

import numpy as np
import pandas as pd

from deltaprop.data.reading import encodings
from deltaprop.data.reading.cells import LOOKS_NUMERIC, Converter
from deltaprop.data.reading.dialects import Dialect, detect
from deltaprop.data.reading.errors import TableError
from deltaprop.data.reading.missing import SIGNS, WORDS
from deltaprop.data.reading.names import require_distinct, with_names
from deltaprop.data.reading.number_words import (
    GROUPED,
    PLAIN,
    Convention,
    described,
    is_number,
    mark_of_groups,
    number_of,
    parts_of,
    shown_decimal,
)
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.data.reading.places import Content
from deltaprop.data.reading.result import Reading

USUAL = {".tsv": "\t", ".tab": "\t"}  # separators, by the endings of names; others have commas
FEWEST_LINES = 20  # in a sample, if lines are long
MOST_EMPTY = 1000  # rows at the end of a table
SAMPLE = 1 << 17  # bytes from which the encoding and the dialect are detected


class Text:
    """A text file: what was detected in its first lines.

    Attributes
    ----------
    encoding : str
    dialect : Dialect
    convention : Convention
        How numbers are written.
    padded : bool
        Whether cells have spaces around them.
    """

    def __init__(self, content: Content, options: ReadingOptions) -> None:
        self.content, self.options = content, options
        head, self.is_whole = _first_lines(content)
        self.encoding = options.encoding or encodings.detect(head, content.name)
        self._look(head)

    def _look(self, head: bytes) -> None:
        text = decoded(head, self.encoding)
        if not text.strip():
            raise TableError(f"{self.content.name} is empty.")
        self.dialect = detect(text, self.is_whole, self.options.sep)
        sep = self.dialect.sep
        n_padded = max(text.count(f" {sep}"), text.count(f"{sep} "))
        self.padded = sep not in " \t" and n_padded > text.count(sep) / 2
        self.convention = _convention(self.dialect, self.options)

    # ------------------------------------------------------------ rows

    def read(self) -> Reading:
        """All rows, and what is worth telling about how they were read."""
        names = list(self.dialect.names)
        require_distinct(self.content.name, names)
        try:
            frame = self._frame()
        except UnicodeDecodeError:  # the first lines were ASCII
            frame = self._frame_of_another_encoding()
        converter = Converter(self.options, self.convention)
        converted = converter.convert(frame)
        if self._is_contradicted(converter):
            self.convention = Convention(",", ".")
            converter = Converter(self.options, self.convention)
            converted = converter.convert(self._frame())
        notes = [*self._notes(converter), *converter.notes]
        return Reading(without_empty_ends(converted), notes, converter.problems)

    def _frame(self) -> pd.DataFrame:
        """All rows; numbers with marks between thousands are words."""
        try:
            frame = self._rows()
        except pd.errors.ParserError as error:
            if "EOF inside string" not in str(error):
                raise
            frame = self._rows(quoting=csv.QUOTE_NONE)  # a quotation mark within words
        names = self.dialect.names
        if self.dialect.shift and not self._has_trailing_separators():
            frame, names = frame.reset_index(), ("", *names)
        if self.padded:
            frame = _stripped(frame)
        return with_names(frame, names)

    def _rows(self, **more: Any) -> pd.DataFrame:
        dialect = self.dialect
        has_row_names = dialect.shift and not self._has_trailing_separators()
        with self.content.open() as file:
            return pd.read_csv(
                file,
                sep=r"\s+" if dialect.sep == " " else dialect.sep,
                quotechar=dialect.quote,
                escapechar=dialect.escape,
                doublequote=dialect.escape is None,
                skiprows=dialect.skip,
                header=0 if dialect.has_names else None,
                index_col=None if has_row_names else False,
                encoding=self.encoding,
                skipinitialspace=self.padded,
                na_values=list(self.options.na) or None,
                decimal=self.convention.decimal,  # numbers with other marks remain words
                low_memory=False,
                **more,
            )

    def _frame_of_another_encoding(self) -> pd.DataFrame:
        if self.options.encoding is not None:
            raise TableError(
                f"{self.content.name} is not encoded as {self.options.encoding}; leave out the "
                "encoding to have it detected."
            ) from None
        with self.content.open() as file:
            data = file.read()
        try:
            data.decode(self.encoding)
        except UnicodeDecodeError as error:
            window = data[max(0, error.start - SAMPLE // 2) : error.start + SAMPLE // 2]
            self.encoding = encodings.detect(window, self.content.name)
        return self._frame()

    def _has_trailing_separators(self) -> bool:
        """Whether each row ends in a separator, and the names do not."""
        return self.dialect.shift == 1 and all(not row[-1] for row in self.dialect.rows)

    def _is_contradicted(self, converter: Converter) -> bool:
        """Whether decimal commas appear later than in the first lines, so that 1.234 is 1234."""
        if self.options.decimal is not None or self.options.thousands is not None:
            return False
        shows_commas = any(found.decimal == "," for found in converter.conventions)
        return self.convention.decimal == "." and shows_commas

    # ------------------------------------------------------------ what was found

    def has_thousands(self) -> bool:
        """Whether a column of the first rows has numbers with marks between thousands."""
        plain = Convention(self.convention.decimal, "")
        for column in zip_longest(*self.dialect.rows, fillvalue=""):
            parts = [parts_of(cell) for cell in column if cell and is_number(cell)]
            n_cells = sum(cell not in WORDS | SIGNS for cell in column)
            has_marks = any(part is not None and number_of(part, plain) is None for part in parts)
            if has_marks and len(parts) >= LOOKS_NUMERIC * n_cells:
                return True
        return False

    def stream_notes(self) -> str:
        """How the first lines are divided, in one sentence; empty if nothing is unusual."""
        unusual = self._unusual({Convention(self.convention.decimal, "")})
        return f"Read{unusual}." if unusual else ""

    def _notes(self, converter: Converter) -> list[str]:
        notes, dialect = [], self.dialect
        found = set(converter.conventions)
        if self.convention.decimal == "," and _has_commas(self.dialect.rows):
            found.add(Convention(",", ""))
        if unusual := self._unusual(found):
            notes.append(f"Read{unusual}.")
        if dialect.skip:
            lines, are = ("lines", "are") if dialect.skip > 1 else ("line", "is")
            notes.append(
                f"The first {dialect.skip} {lines} above the names of columns {are} skipped."
            )
        if (ambiguous := self._ambiguous()) is not None:
            notes.append(ambiguous)
        if not dialect.has_names:
            notes.append(
                "The first line contains data, not names, so the columns are called "
                f"{dialect.names[0]}, …"
            )
        return notes

    def _ambiguous(self) -> str | None:
        """A sentence about a number such as 1.234 that could be another one; None for none.

        Only files with semicolons are suspicious, because their decimal mark is often the comma.
        """
        given = self.options.decimal or self.options.thousands is not None
        if given or self.dialect.sep != ";" or _mark_of_groups(self.dialect.rows):
            return None
        cells = [cell for row in self.dialect.rows for cell in row if cell]
        word = next((cell for cell in cells if GROUPED.fullmatch(cell)), None)
        if word is None or shown_decimal(cells):
            return None
        mark = "." if "." in word else ","
        number = float(word.replace(mark, "."))
        return (
            f"{word} is read as {number:g}; if it means {word.replace(mark, '')}, use "
            f"--thousands '{mark}'."
        )

    def _unusual(self, conventions: Iterable[Convention]) -> str:
        """What was detected and is unusual, such as " with ';' as separator (latin-1)"."""
        given, parts = self.options, []
        if given.sep is None and self.dialect.sep != USUAL.get(self.content.suffix, ","):
            parts.append(f"{self.dialect.shown_sep} as separator")
        if given.decimal is None and given.thousands is None:
            parts += described(conventions)
        if self.dialect.quote != '"':
            parts.append(f"{self.dialect.quote} as quotation mark")
        words = f" with {' and '.join(parts)}" if parts else ""
        if given.encoding is not None or self.encoding in ("utf-8", "utf-8-sig"):
            return words
        guessed = self.encoding in (encodings.LATIN1, *encodings.ONE_BYTE)
        hint = "; if letters are wrong, set --encoding" if guessed else ""
        return f"{words} ({encodings.shown(self.encoding)}{hint})"


def _first_lines(content: Content) -> tuple[bytes, bool]:
    """The first bytes of a file, with several lines, and whether this is all of it."""
    n = SAMPLE
    while True:
        head = content.head(n)
        if len(head) < n or head.count(b"\n") + head.count(b"\r") >= FEWEST_LINES:
            return head, len(head) < n
        n *= 8


def decoded(head: bytes, encoding: str) -> str:
    """The beginning of a file as text, without an incomplete letter at its end."""
    import codecs

    text: str = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    return text


def _convention(dialect: Dialect, options: ReadingOptions) -> Convention:
    """How the numbers of the first rows are written."""
    if options.decimal is not None or options.thousands is not None:
        decimal = options.decimal or ("," if options.thousands == "." else ".")
        return Convention(decimal, options.thousands or "")
    if (mark := _mark_of_groups(dialect.rows)) and mark == ".":
        return Convention(",", ".")
    if mark == "," or not any("," in cell for row in dialect.rows for cell in row):
        return PLAIN
    decimal = shown_decimal(cell for row in dialect.rows for cell in row if cell)
    if decimal == ",":
        return Convention(",", ".")
    if not decimal and dialect.sep == ";" and _has_commas(dialect.rows):
        return Convention(",", ".")
    return PLAIN


def _mark_of_groups(rows: Sequence[Sequence[str]]) -> str:
    """The mark between thousands that a column shows in whole numbers; "" for none."""
    columns = zip_longest(*rows, fillvalue="")
    marks = (mark_of_groups(c for c in column if c not in WORDS | SIGNS) for column in columns)
    return next((mark for mark in marks if mark), "")


def _has_commas(rows: Sequence[Sequence[str]]) -> bool:
    """Whether there are numbers with a decimal comma, or with commas between thousands."""
    return any("," in cell and is_number(cell) for row in rows for cell in row)


def _stripped(frame: pd.DataFrame) -> pd.DataFrame:
    for name in frame.columns:
        column: Any = frame[name]
        if isinstance(column.dtype, pd.StringDtype):
            frame[name] = column.str.strip()
    return frame


def without_empty_ends(frame: pd.DataFrame) -> pd.DataFrame:
    """The table without empty rows at its end and empty columns that have no name."""
    unnamed = [name for name in frame.columns if name.startswith("Unnamed: ")]
    empty = [name for name in unnamed if frame[name].isna().all()]
    if empty:
        frame = frame.drop(columns=empty)
    if not frame.tail(1).isna().to_numpy().all():
        return frame
    is_known = frame.iloc[-MOST_EMPTY:].notna().any(axis=1).to_numpy()
    if not is_known.any():
        return frame.dropna(how="all")
    n = len(is_known) - 1 - int(np.flatnonzero(is_known)[-1])
    return frame.iloc[: len(frame) - n] if n else frame
