"""Describe a table before a model learns from it.

:func:`~deltaprop.data.overview.describing.describe` looks at each column (``columns``), at the rows
and the target (``findings``), and returns an :class:`~deltaprop.data.overview.describing.Overview`.
"""
