"""Commands, run in this process, which is quicker by the two seconds of its imports."""

import contextlib
import io
import sys
from subprocess import CompletedProcess
from unittest import mock

from deltaprop.cli import main


def deltaprop(*arguments, cwd="."):
    """Run a command without a terminal; returns what `subprocess.run(..., text=True)` would."""
    command = ["deltaprop", *map(str, arguments)]
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    code = 0
    with (
        mock.patch.object(sys, "argv", command), contextlib.chdir(cwd),
        contextlib.redirect_stdout(out), contextlib.redirect_stderr(err),
    ):  # fmt: skip
        try:
            main()
        except SystemExit as ended:
            code = ended.code or 0
        for stream in (out, err):
            stream.flush()
    printed = [stream.buffer.getvalue().decode() for stream in (out, err)]
    return CompletedProcess(command, code, *printed)
