"""Columns of words as numbers, booleans and dates, where the words are such."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from pandas.api.types import infer_dtype

from deltaprop.data.reading.date_words import (
    ANY,
    DAY,
    EITHER,
    MONTH,
    has_order,
    has_short_years,
    is_date,
    iso_dates,
    order_of,
)
from deltaprop.data.reading.missing import SIGNS, WORDS, missing_among
from deltaprop.data.reading.number_words import (
    PERCENT,
    PLAIN,
    Convention,
    Parsed,
    digits_as_numbers,
    is_number,
    parse,
)
from deltaprop.data.reading.options import ReadingOptions

LOOKS_NUMERIC = 0.8  # fraction of the words, for a column to be reported if others do not parse
TRUTH = {"true": True, "false": False}
SHOWN = 3  # cells in a message
SAMPLE = 500  # rows that show that a column contains neither numbers nor dates
QUICK = 100  # words that do so


@dataclass
class Converter:
    """Converts the columns of a table, and keeps what is worth telling.

    Attributes
    ----------
    options : ReadingOptions
    hint : Convention
        How the numbers of the table are written.
    notes, problems : list of str
        Sentences about columns; problems are about cells that do not parse.
    conventions : set of Convention
        Those that were found in columns, with only the marks that occur.
    """

    options: ReadingOptions
    hint: Convention = PLAIN
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    conventions: set[Convention] = field(default_factory=set)

    def convert(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Convert the columns of words of a table, in place."""
        places = [i for i, dtype in enumerate(frame.dtypes) if _may_hold_words(dtype)]
        texts = {i: frame.iloc[:, i] for i in places}
        converted = {i: self._column(column) for i, column in texts.items()}
        self._convert_dates(converted)
        for i, column in converted.items():
            if column is not texts[i]:
                frame.isetitem(i, column)
        return self._without_missing_numbers(frame) if self.options.na else frame

    def _without_missing_numbers(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The table without numbers that the caller says are missing values."""
        numbers = pd.to_numeric(pd.Series(self.options.na), errors="coerce").dropna()
        for i, dtype in enumerate(frame.dtypes):
            if pd.api.types.is_numeric_dtype(dtype) and frame.iloc[:, i].isin(numbers).any():
                frame.isetitem(i, frame.iloc[:, i].mask(frame.iloc[:, i].isin(numbers)))
        return frame

    # ------------------------------------------------------------ numbers

    def _column(self, column: pd.Series) -> pd.Series:
        if not _holds_strings(column):
            column = _as_strings(column, self.options.na)
            if not _holds_strings(column):
                return column
        column = without_missing_words(column, self.options.na)
        sample = _some_words(column)
        if sample and _truth_of(sample) is None and not _may_be_numbers(sample):
            return column
        if (numbers := self._plain_numbers(column, sample)) is not None:
            return numbers
        words = words_of(column)
        if not words:
            return column
        if (truth := _truth_of(words)) is not None:
            return column.map(truth)
        return self._numbers(column, words) if _may_be_numbers(words) else column

    def _plain_numbers(self, column: pd.Series, sample: Sequence[str]) -> pd.Series | None:
        """The numbers of a column, quickly, if all of its words are digits and marks."""
        if not sample:
            return None
        parsed = parse(sample, self.hint, self._is_fixed)
        if parsed.unit or np.isnan(parsed.numbers).any():
            return None
        numbers = digits_as_numbers(column, parsed.convention)
        if np.count_nonzero(np.isnan(numbers)) != column.isna().sum():
            return None
        self.conventions.add(parsed.convention.used_in(sample))
        numbers = _as_integers(column, sample, parsed._replace(numbers=numbers))
        return pd.Series(numbers, index=column.index, name=column.name)

    @property
    def _is_fixed(self) -> bool:
        """Whether the caller says how numbers are written."""
        return self.options.decimal is not None or self.options.thousands is not None

    def _numbers(self, column: pd.Series, words: list[str]) -> pd.Series:
        parsed = parse(words, self.hint, self._is_fixed)
        known = ~np.isnan(parsed.numbers)
        if known.all():
            self._note_unit(column.name, parsed, words)
            self.conventions.add(parsed.convention.used_in(words))
            return _mapped(column, words, _as_integers(column, words, parsed))
        share = sum(map(is_number, words)) / len(words)
        if share >= LOOKS_NUMERIC:
            self._note_unparsed(column, [w for w, ok in zip(words, known, strict=True) if not ok])
        is_plain = parsed.convention == PLAIN and not parsed.unit
        if is_plain or known.mean() < LOOKS_NUMERIC:
            return column
        plain = [
            _plain(number) if ok else word
            for word, number, ok in zip(words, parsed.numbers, known, strict=True)
        ]
        self.conventions.add(parsed.convention.used_in(words))
        return column.map(dict(zip(words, plain, strict=True)))

    def _note_unit(self, name: Any, parsed: Parsed, words: Sequence[str]) -> None:
        if parsed.unit in PERCENT:
            self.notes.append(f"Column {name!r}: {words[0]!r} is read as {parsed.numbers[0]:g}.")
        elif parsed.unit:
            self.notes.append(f"Column {name!r}: {parsed.unit!r} is left out of its numbers.")

    def _note_unparsed(self, column: pd.Series, words: list[str]) -> None:
        n = int(column.isin(words).sum())
        self.problems.append(
            f"Column {column.name!r} looks numeric but was read as text: {n} of {len(column)} "
            f"cells do not parse ({shortened(words)}). Correct them, or name them as missing: "
            f"{' '.join(f'--na {word!r}' for word in words[:3])}."
        )

    # ------------------------------------------------------------ dates

    def _convert_dates(self, columns: dict[int, pd.Series]) -> None:
        """Replace columns of dates whose order the encoder would not recognise by itself."""
        texts = {i: column for i, column in columns.items() if _holds_strings(column)}
        if self.options.date_format is not None:
            for i, column in texts.items():
                columns[i] = self._dates_of_format(column, self.options.date_format)
            return
        words = {}
        for i, column in texts.items():
            sample = _some_words(column)
            if _may_be_dates(sample):
                self._note_other_than_dates(column)
                words[i] = words_of(column) if has_order(sample[0]) else []
        orders = {i: order for i, found in words.items() if (order := order_of(found)) is not None}
        certain = set(orders.values()) - {EITHER}
        for i, order in orders.items():
            first = DAY if order == DAY or (order == EITHER and certain == {DAY}) else MONTH
            if (order == EITHER and first == DAY) or has_short_years(words[i]):
                iso = iso_dates(words[i], first)
                columns[i] = columns[i].map(dict(zip(words[i], iso, strict=True)))
            if order == EITHER:
                self._note_order(columns[i].name, words[i][0], first, len(certain) == 1)

    def _note_other_than_dates(self, column: pd.Series) -> None:
        others = column[~column.str.fullmatch(ANY, na=True)]
        if 0 < len(others) <= (1 - LOOKS_NUMERIC) * len(column):
            words = words_of(others)
            self.problems.append(
                f"Column {column.name!r} looks like dates but was read as text: {len(others)} of "
                f"{len(column)} cells do not parse ({shortened(words)}). Correct them, or name "
                f"them as missing: --na {words[0]!r}."
            )

    def _note_order(self, name: Any, word: str, first: str, is_certain: bool) -> None:
        day = iso_dates([word], first)[0]
        reason = "as in other columns" if is_certain else "which is a guess; see --date-format"
        self.notes.append(f"Column {name!r}: {word} is read as {day}, the {first} first, {reason}.")

    def _dates_of_format(self, column: pd.Series, pattern: str) -> pd.Series:
        words = words_of(column)
        dates = pd.to_datetime(pd.Series(words, dtype=object), format=pattern, errors="coerce")
        known = dates.notna().to_numpy()
        if not words or known.mean() < LOOKS_NUMERIC:
            return column
        if not known.all():
            self._note_unparsed_dates(
                column, [w for w, ok in zip(words, known, strict=True) if not ok]
            )
        return column.map(dict(zip(words, dates, strict=True))).astype("datetime64[us]")

    def _note_unparsed_dates(self, column: pd.Series, words: list[str]) -> None:
        n = int(column.isin(words).sum())
        self.problems.append(
            f"Column {column.name!r}: {n} of {len(column)} cells are no dates of the given format "
            f"and become missing ({shortened(words)})."
        )


def shortened(words: Sequence[str]) -> str:
    """The first words for a message."""
    shown = ", ".join(repr(word[:40]) for word in words[:SHOWN])
    return shown if len(words) <= SHOWN else f"{shown}, …"


# ---------------------------------------------------------------- one column


def without_missing_words(column: pd.Series, extra: Sequence[str] = ()) -> pd.Series:
    """The column without words that stand for missing values."""
    if extra and column.isin(extra).any():
        column = column.mask(column.isin(extra))
    if not _contains_any(column, SIGNS | WORDS):
        return column
    missing = missing_among(words_of(column))
    return column.mask(column.isin(missing)) if missing else column


def _contains_any(column: pd.Series, words: Iterable[str]) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    return bool(pc.any(pc.is_in(pa.array(column), pa.array(words, pa.large_string()))).as_py())


def words_of(column: pd.Series) -> list[str]:
    """The distinct strings of a column."""
    found = column.unique()
    values = found.tolist() if isinstance(found, np.ndarray) else found.to_numpy(object).tolist()
    return [word for word in values if isinstance(word, str)]


def _some_words(column: pd.Series) -> list[str]:
    """The strings in evenly spaced rows."""
    return words_of(column.iloc[:: max(1, -(-len(column) // SAMPLE))])


def _as_strings(column: pd.Series, extra: Sequence[str]) -> pd.Series:
    """Objects as strings, if they are strings and numbers; otherwise the column as it is.

    Words for missing values among numbers, as in sheets, are left out first.
    """
    kind = infer_dtype(column, skipna=True)
    if kind == "string":
        return column.astype("str")
    if kind not in ("mixed", "mixed-integer") or not column.map(_is_word_or_number).all():
        return column
    missing = missing_among(value for value in column if isinstance(value, str))
    column = column.mask(column.isin([*missing, *extra])).infer_objects()
    if not _may_hold_words(column.dtype):
        return column
    words = [_plain(value) if isinstance(value, (int, float)) else value for value in column]
    return pd.Series(words, index=column.index, name=column.name, dtype="str")


def _is_word_or_number(value: Any) -> bool:
    return value is None or (isinstance(value, (str, int, float)) and not isinstance(value, bool))


def _may_hold_words(dtype: Any) -> bool:
    return dtype.kind == "O" or isinstance(dtype, pd.StringDtype)


def _holds_strings(column: pd.Series) -> bool:
    return isinstance(column.dtype, pd.StringDtype)


def _truth_of(words: Sequence[str]) -> dict[str, bool] | None:
    """What the words TRUE and FALSE mean, if there are no others."""
    if len(words) > 6 or not all(word.lower() in TRUTH for word in words):
        return None
    return {word: TRUTH[word.lower()] for word in words}


def _may_be_numbers(words: Sequence[str]) -> bool:
    """Whether half of some words look like numbers."""
    sample = words[:: -(-len(words) // QUICK)]
    return sum(map(is_number, sample)) >= len(sample) / 2


def _may_be_dates(words: Sequence[str]) -> bool:
    """Whether most of some words look like dates."""
    return bool(words) and sum(map(is_date, words)) >= LOOKS_NUMERIC * len(words)


def _as_integers(column: pd.Series, words: Sequence[str], parsed: Parsed) -> np.ndarray:
    """The numbers as integers, if they are written as such and none is missing."""
    numbers = parsed.numbers
    if parsed.unit in PERCENT or column.isna().any() or not (numbers == np.floor(numbers)).all():
        return numbers
    if np.abs(numbers).max() > 2**53 or any(parsed.convention.decimal in word for word in words):
        return numbers
    return numbers.astype(np.int64)


def _mapped(column: pd.Series, words: Sequence[str], numbers: np.ndarray) -> pd.Series:
    """The column with each word replaced by its number."""
    codes = pd.Index(words).get_indexer(pd.Index(column))
    found = numbers[codes] if numbers.dtype.kind == "i" else np.append(numbers, np.nan)[codes]
    return pd.Series(found, index=column.index, name=column.name)


def _plain(number: float) -> str | None:
    if number != number:
        return None
    return str(int(number)) if float(number).is_integer() else repr(float(number))
