"""Detect the encoding of text.

UTF-8 text is recognised with certainty, and so is a byte order mark. Of the encodings with one byte
per letter, the one is chosen whose letters stand where letters do: "K\\xf6ln" is Köln in latin-1
and K÷ln in code page 850.
"""

from __future__ import annotations

import codecs

from deltaprop.data.reading.errors import TableError

MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark is the beginning of this one
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
LATIN1 = "latin-1"
ONE_BYTE = (  # the first of equals
    "cp1252", "iso8859_15", "cp1250", "iso8859_2", "cp1251", "mac_roman", "cp850", "cp1253",
)  # fmt: skip
SHOWN = {"utf-8-sig": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "utf-16": "UTF-16"}
PUNCTUATION = "“”„‘’‚«»–—…\xa0·"
LEAST_SCORE = 0.6  # of each letter that is not ASCII, for an encoding to be believed


def detect(data: bytes, name: str) -> str:
    """Python's name of the encoding of the beginning of a file.

    Raises
    ------
    TableError
        If it is none of the known ones.

    Examples
    --------
    >>> detect("Köln;1,5".encode("latin-1"), "t.csv"), detect("Köln".encode(), "t.csv")
    ('latin-1', 'utf-8')
    """
    for mark, encoding in MARKS:
        if data.startswith(mark):
            return encoding
    if (wide := _without_mark(data)) is not None:
        return wide
    try:
        codecs.getincrementaldecoder("utf-8")().decode(data)  # may end within a letter
        return "utf-8"
    except UnicodeDecodeError:
        return _one_byte(data, name)


def shown(encoding: str) -> str:
    """The name of an encoding for a message."""
    return SHOWN.get(encoding, encoding)


def _without_mark(data: bytes) -> str | None:
    """UTF-16 without its mark, in which every second byte of Western text is 0."""
    even, odd = data[0::2].count(0), data[1::2].count(0)
    for zeros, others, encoding in ((odd, even, "utf-16-le"), (even, odd, "utf-16-be")):
        if zeros > 0.3 * (len(data) // 2) and others < 0.1 * zeros:
            return encoding
    return None


def _one_byte(data: bytes, name: str) -> str:
    best, best_score = "", LEAST_SCORE
    for encoding in ONE_BYTE:
        score = _score(data.decode(encoding, "replace"))
        if score > best_score + 1e-9:
            best, best_score = encoding, score
    if not best:
        raise TableError(
            f"The encoding of {name} is not recognised. Name it: --encoding gb18030, say, or "
            "encoding='gb18030'."
        )
    is_latin1 = best == "cp1252" and not any(0x80 <= byte <= 0x9F for byte in data)
    return LATIN1 if is_latin1 else best


def _score(text: str) -> float:
    """How plausible the letters that are not ASCII are, on average: at most 1."""
    scores = [
        _plausibility(before, letter, after)
        for before, letter, after in zip(" " + text, text, text[1:] + " ", strict=False)
        if letter > "\x7f"
    ]
    return sum(scores) / max(1, len(scores))


def _plausibility(before: str, letter: str, after: str) -> float:
    """How well a letter fits between two others, in [-2, 1]."""
    if letter == "\ufffd" or "\x7f" < letter < "\xa0":
        return -2.0
    if not letter.isalpha() or letter in "ªº":
        if letter not in PUNCTUATION and (before > "\xa0" or after > "\xa0"):
            return -1.0  # several signs in a row
        within_word = before.isalpha() and after.isalpha() and letter not in "’-\u00ad"
        joined = letter in "£¥¤÷×¬¦¶§¨¸" and (before.isalpha() or after.isalpha())
        return -2.0 if within_word or joined or letter == "¤" else 0.9
    if before.isdigit() and after.isdigit():
        return -1.0
    if letter.isupper() and before.islower():
        return -2.0
    neighbours = [other for other in (before, after) if other.isalpha()]
    if not neighbours:
        return 0.3
    if letter > "\u036f":  # Greek and Cyrillic words contain no Latin letters
        return 1.0 if all(other > "\u036f" for other in neighbours) else -1.0
    crowd = sum(other > "\x7f" for other in neighbours)
    return 1.0 if crowd == 0 else 0.8 if crowd == 1 else -0.5
