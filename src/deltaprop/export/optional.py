"""Optional packages, imported when they are first used."""

from __future__ import annotations

import importlib
from typing import Any


def imported(module: str, extra: str, user: str) -> Any:
    """A module of an optional package.

    Parameters
    ----------
    module : str
        Its name, such as "onnx.helper".
    extra : str
        What to install: an extra of deltaprop, or a package.
    user : str
        What needs it.

    Raises
    ------
    ImportError
        If it is not installed; the message has the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        raise ImportError(
            f"{user} needs {package}. Install it with: pip install {extra}"
        ) from error


def onnx_module(module: str = "onnx") -> Any:
    """The module ``onnx``, ``onnxruntime``, or one of theirs."""
    return imported(module, "'deltaprop[onnx]'", "ONNX")
