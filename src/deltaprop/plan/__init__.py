"""What a fitted model computes for a row, as plain arithmetic.

- ``steps.py``: the description: columns, bins, networks, and what follows from their outputs.
- ``planning.py``: the description of a network or a fitted estimator.
- ``light.py``: the description carried out with NumPy alone.

Exporters (:mod:`deltaprop.export`) write the same description in other languages.
"""
