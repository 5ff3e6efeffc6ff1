"""The Ray to work on: the caller's own, the one at an address, or one on this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOCAL = "local"


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected; a connection that was opened here is closed again.

    None stands for the connection that the program has, else RAY_ADDRESS, else "local": a Ray on
    this machine, which listens on 127.0.0.1 only.
    """
    ray = imported()
    if ray.is_initialized():
        if address not in (None, LOCAL, ray.get_runtime_context().gcs_address):
            raise ValueError(
                f"address is {address!r}, but this program is already connected to the Ray at "
                f"{ray.get_runtime_context().gcs_address!r}. Leave address out to use that one, or "
                "call ray.shutdown() first."
            )
        yield ray
        return
    _connect(ray, address or os.environ.get("RAY_ADDRESS") or LOCAL)
    try:
        yield ray
    finally:
        ray.shutdown()


def imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "deltaprop.cluster needs Ray. Install it with: pip install 'deltaprop[cluster]'"
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    if address == LOCAL:
        ray.init(LOCAL, include_dashboard=False, _node_ip_address="127.0.0.1")
        return
    try:
        ray.init(address)
    except ConnectionError as error:
        raise ValueError(
            f"address {address!r} answers no Ray ({error}). Start one there with `ray start "
            "--head`, or use 'local' for one on this machine."
        ) from error
