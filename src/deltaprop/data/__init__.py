"""From tables to X and y: reading files, recognising the task, encoding columns, streaming.

The public names are in :mod:`deltaprop.tables`.
"""
