"""The application, with which each command registers itself by ``@app.command()``."""

from __future__ import annotations

from typing import Annotated

import typer

from deltaprop._version import __version__

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # joins the lines of a paragraph
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"deltaprop {__version__}")
        raise typer.Exit


@app.callback()
def deltaprop(
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version.", callback=_print_version, is_eager=True
        ),
    ] = False,
) -> None:
    """Train fully connected networks on your own table; back-propagation in closed form."""
