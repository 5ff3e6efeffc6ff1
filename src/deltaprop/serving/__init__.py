"""Predictions over HTTP: ``deltaprop serve`` and :func:`serve` (docs/serving.md)."""

from deltaprop.serving.limits import Limits
from deltaprop.serving.server import application, serve

__all__ = ["Limits", "application", "serve"]
