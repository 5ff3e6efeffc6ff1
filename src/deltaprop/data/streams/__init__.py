"""Tables that are larger than memory, read piece by piece.

:func:`~deltaprop.data.streams.opening.stream` finds the files (``discovery``), splits them into
pieces that can be read separately (``fragments``) and returns a
:class:`~deltaprop.data.streams.stream.Stream`. Importing these modules is cheap: pandas, pyarrow
and fsspec are imported when the first file is opened.
"""
