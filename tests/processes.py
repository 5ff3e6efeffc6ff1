"""Processes that run code and print JSON on their last line, alone or in pairs."""

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
    """Wait for a process, and return the JSON of its last line."""
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    return json.loads(out.strip().splitlines()[-1])


def run_with_registers(file, registers, folder, more="", *options):
    """Run a file of tests in a process whose kernel assumes other registers: bytes, MR and NV.

    `more` is code to run before, and `folder` receives the machine code, because the cache of this
    machine is for its own registers. The configuration of the tests would fill the folder with code
    for the registers of this machine.
    """
    program = (
        "import sys, pytest; from deltaprop.engines.fused import bfloat16, constants as c\n"
        f"c.VECTOR_BYTES, c.MR, c.NV = {registers}\n"
        f"c.READS_IN_PLACE = {registers[0] > 16}; {more}\n"
        f"sys.exit(pytest.main([{file!r}, '-q', '-p', 'no:cacheprovider', '--noconftest', "
        f"*{options!r}]))"
    )
    elsewhere = dict.fromkeys(("DELTAPROP_CACHE_DIR", "XDG_CACHE_HOME", "TMPDIR"), str(folder))
    subprocess.run([sys.executable, "-c", program], env=os.environ | elsewhere, check=True)


def two(code, **environment):
    """Start two processes with the environment variables RANK, and ADDRESS for rank 0."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return [started(code, RANK=str(rank), ADDRESS=address, **environment) for rank in (0, 1)]
