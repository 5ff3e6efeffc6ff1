"""The application with all of its commands. Importing a command's module registers the command."""

from deltaprop.cli.registry import app

# isort: off
# `deltaprop --help` lists the commands in this order.
from deltaprop.cli import train
from deltaprop.cli import predict
from deltaprop.cli import evaluate
from deltaprop.cli import check
from deltaprop.cli import explain
from deltaprop.cli import export
from deltaprop.cli import info
from deltaprop.cli import look
from deltaprop.cli import serve

__all__ = [
    "app", "check", "evaluate", "explain", "export", "info", "look", "predict", "serve", "train",
]  # fmt: skip
