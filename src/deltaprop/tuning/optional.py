"""The optional dependency Optuna, imported when it is first used."""

from __future__ import annotations

import importlib
from typing import Any


def optuna() -> Any:
    """The module ``optuna``; ImportError, with the command that installs it, if it is missing."""
    try:
        return importlib.import_module("optuna")
    except ImportError as error:
        raise ImportError(
            "dp.tune needs Optuna. Install it with: pip install 'deltaprop[tune]'"
        ) from error
