"""skrub, imported without needing a home directory.

skrub creates a folder for its data sets in the home directory when it is imported, and fails if it
cannot. deltaprop uses none of these data sets.
"""

from __future__ import annotations

import importlib
import os
import sys
from types import ModuleType

FOLDER = "SKB_DATA_DIRECTORY"  # the variable in which skrub looks for another folder


def import_skrub(name: str = "skrub") -> ModuleType:
    """Import skrub, or one of its modules; with an existing folder if it cannot create its own."""
    try:
        return importlib.import_module(name)
    except (OSError, RuntimeError):  # a read-only or full disk; no home directory at all
        before = os.environ.get(FOLDER)
        os.environ[FOLDER] = sys.prefix
        try:
            return importlib.import_module(name)
        finally:
            del os.environ[FOLDER]
            if before is not None:
                os.environ[FOLDER] = before
