"""The application, with which each command registers itself by ``@app.command()``."""

from __future__ import annotations

import typer

app = typer.Typer(
    help="Train fully connected networks on your own table; back-propagation in closed form.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
)
