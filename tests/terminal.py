"""What a command prints to a pseudo-terminal, read without waiting for ever."""

import os
import select
import time


def read_until(terminal: int, text: str, seconds: float = 90) -> str:
    """What is printed until `text` occurs. Raises AssertionError if it does not in time."""
    seen, deadline = b"", time.monotonic() + seconds
    while text.encode() not in seen:
        left = deadline - time.monotonic()
        ready, _, _ = select.select([terminal], [], [], max(left, 0))
        assert ready, f"{text!r} was not printed within {seconds} s, but {seen!r}"
        seen += os.read(terminal, 4096)
    return seen.decode(errors="replace")


def read_rest(terminal: int) -> str:
    """What is printed until the process closes its side of the terminal."""
    seen = b""
    while True:
        try:
            chunk = os.read(terminal, 4096)
        except OSError:  # on Linux, the other side is closed
            chunk = b""
        if not chunk:
            return seen.decode(errors="replace")
        seen += chunk
