"""The Ray to work on: the caller's own, the one at an address, or one on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

LOCAL = "local"
ONE_MACHINE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The module `ray`, connected; a connection that was opened here is closed again.

    None stands for the connection that the program has, else RAY_ADDRESS, else "local": a Ray on
    this machine, which listens on 127.0.0.1 only.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if wanted == LOCAL and "ray" not in sys.modules:
        # Ray replaces 127.0.0.1 by the address of a network card and listens there, unless this
        # says at its import that it serves one machine.
        os.environ.setdefault(ONE_MACHINE, "0")
    ray = _imported()
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, LOCAL, here):
            raise ValueError(
                f"address is {address!r}, but this program is already connected to the Ray at "
                f"{here!r}. Leave address out to use that one, or call ray.shutdown() first."
            )
        yield ray
        return
    if wanted == LOCAL:
        # Without a dashboard Ray Train complains every second, and harmlessly.
        quiet = {"include_dashboard": False, "log_to_driver": False}
        ray.init(LOCAL, _node_ip_address="127.0.0.1", **quiet)
        _say_that_there_is_no_dashboard()
        if not (here := ray.get_runtime_context().gcs_address).startswith("127.0.0.1:"):
            warnings.warn(
                f"This Ray listens at {here}, where others on the network may reach it, since the "
                f"program imported ray earlier. Set {ONE_MACHINE}=0 in the environment before that "
                "for 127.0.0.1 alone.",
                stacklevel=4,
            )
    else:
        _connect(ray, wanted)
    try:
        yield ray
    finally:
        ray.shutdown()


def _say_that_there_is_no_dashboard() -> None:
    """Else Ray Train asks where it is for 12 s at the end of each training.

    The place that it is given refuses at once. Another Ray may keep this elsewhere, and then waits.
    """
    with contextlib.suppress(ImportError, AttributeError, TypeError):
        from ray.experimental.internal_kv import _internal_kv_put

        _internal_kv_put("dashboard", "127.0.0.1:1", namespace="dashboard")


def _imported() -> Any:
    try:
        import ray
    except ImportError as error:
        raise ImportError(
            "deltaprop.cluster needs Ray. Install it with: pip install 'deltaprop[cluster]'"
        ) from error
    return ray


def _connect(ray: Any, address: str) -> None:
    try:
        ray.init(address)
    except ConnectionError as error:
        raise ValueError(
            f"address {address!r} answers no Ray ({error}). Start one there with `ray start "
            "--head`, or use 'local' for one on this machine."
        ) from error
