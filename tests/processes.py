"""New processes that run code and print JSON last, alone or knowing of each other."""

import json
import os
import socket
import subprocess
import sys
import textwrap


def started(code, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        env=os.environ | environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process):
    """What it printed last."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(out.strip().splitlines()[-1])


def two(code, **environment):
    """Two that find in RANK which they are, and in ADDRESS where rank 0 is."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [started(code, RANK=str(rank), ADDRESS=address, **environment) for rank in (0, 1)]
