"""The version, in a module of its own: the root package refers to all others."""

__version__ = "0.1.0"
