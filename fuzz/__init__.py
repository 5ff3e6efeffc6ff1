"""Fuzzing of everything that may come from a stranger: `python -m fuzz`."""
