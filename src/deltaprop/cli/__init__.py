"""The command line. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys


def main() -> None:
    """Run ``deltaprop``. Exit codes: 0 done, 1 a bug, 2 bad input, 130 Ctrl-C, 143 SIGTERM."""
    import os

    from deltaprop.cli.app import app

    try:
        app(prog_name="deltaprop", standalone_mode=True)
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        sys.exit(130)
    except (ValueError, MemoryError) as error:
        from deltaprop.cli.app import is_bad_input

        if not is_bad_input(error):
            raise
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
