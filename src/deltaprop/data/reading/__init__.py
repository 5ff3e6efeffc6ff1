"""Read tables of many formats, from files, standard input and URLs.

:func:`~deltaprop.data.reading.tables.read` fetches the bytes (``places``) and recognises their
format (``formats``). Text needs most work (``text``): its encoding (``encodings``), how lines are
divided into cells (``dialects``), and what the words in the cells mean (``cells``): numbers
(``number_words``), dates (``date_words``) and missing values (``missing``).

Importing this package is cheap: pandas and pyarrow are imported when a table is read.
"""

from deltaprop.data.reading.errors import TableError, TableWarning, UnparsedCells, first_line
from deltaprop.data.reading.formats import ARROW, PARQUET, TEXT
from deltaprop.data.reading.options import ReadingOptions
from deltaprop.data.reading.result import Reading
from deltaprop.data.reading.tables import is_database, read, read_table

__all__ = [
    "ARROW",
    "PARQUET",
    "TEXT",
    "Reading",
    "ReadingOptions",
    "TableError",
    "TableWarning",
    "UnparsedCells",
    "first_line",
    "is_database",
    "read",
    "read_table",
]
