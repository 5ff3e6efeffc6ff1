"""How each kind of column becomes numbers.

- ``protocol.py``: what every kind of column implements; ``recognition.py`` chooses the kind.
- ``numbers.py``, ``categories.py``, ``dates.py``, ``text.py``: the kinds.
- ``description.py``: what was done to a column, in words.
- ``values.py``: columns as NumPy arrays and distinct values, whatever their dtype.
- ``squashing.py``: the scale of encoded numbers.
- ``chains.py``: columns of model files that earlier versions wrote.
"""
