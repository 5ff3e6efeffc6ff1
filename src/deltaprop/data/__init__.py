"""From a table to X and y: reading files, recognising the task, encoding columns, streams.

The public names are in :mod:`deltaprop.tables`.
"""
