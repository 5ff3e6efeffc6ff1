"""The command line. Heavy imports wait until a command needs them, so that ``--help`` is quick."""

from __future__ import annotations

import contextlib
import sys


def main() -> None:
    """Run ``deltaprop``.

    Exit codes: 0 success, 1 a bug (with its traceback), 2 bad input (with one message), 130 Ctrl-C
    and 143 SIGTERM. Typer itself handles wrong options (2) and Ctrl-C (130).
    """
    from deltaprop.cli import streams

    streams.prepare()
    from deltaprop.cli.app import app

    try:
        try:
            app(prog_name="deltaprop")
        except SystemExit:
            with contextlib.suppress(SystemExit):  # if nobody reads the results any more
                sys.stdout.flush()
            raise
    except Exception as error:
        if not is_bad_input(error):
            raise
        from deltaprop.cli.output import note

        note(f"Error: {str(error) or 'There is not enough memory.'}")
        sys.exit(2)


def is_bad_input(error: Exception) -> bool:
    """Return whether the user can correct the cause of an error; every other error is a bug."""
    from sklearn.utils._param_validation import InvalidParameterError

    from deltaprop.errors import InputError

    return isinstance(error, (InputError, InvalidParameterError, MemoryError))
