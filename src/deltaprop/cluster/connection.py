"""Connecting to a Ray cluster: the one in use, the one at an address, or one on this machine."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deltaprop.errors import InputError, warn

LOCAL = "local"
CLUSTER_VARIABLE = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"


@contextmanager
def connected(address: str | None) -> Iterator[Any]:
    """The connected module `ray`. A connection that was opened here is closed at the end.

    With None, it is the existing connection of the program, or else the one at the environment
    variable RAY_ADDRESS, or else "local": a Ray cluster on this machine that listens on 127.0.0.1
    only.
    """
    wanted = address or os.environ.get("RAY_ADDRESS") or LOCAL
    if wanted == LOCAL and "ray" not in sys.modules:
        # Unless this variable is 0 when ray is imported, Ray replaces 127.0.0.1 by the address of
        # a network card and listens there.
        os.environ.setdefault(CLUSTER_VARIABLE, "0")
    ray = _imported()
    if ray.is_initialized():
        here = ray.get_runtime_context().gcs_address
        if address not in (None, LOCAL, here):
            raise InputError(
                f"address is {address!r}, but this program is already connected to the Ray cluster "
                f"at {here!r}. Leave address out to use that one, or call ray.shutdown() first."
            )
        yield ray
        return
    if wanted == LOCAL:
        # Without a dashboard, Ray Train logs harmless messages every second.
        quiet = {"include_dashboard": False, "log_to_driver": False}
        ray.init(LOCAL, _node_ip_address="127.0.0.1", **quiet)
        _disable_dashboard_lookup()
        if not (here := ray.get_runtime_context().gcs_address).startswith("127.0.0.1:"):
            warn(
                f"The Ray cluster on this machine listens at {here}, where others on the network "
                "may reach it, because the program imported ray earlier. Set "
                f"{CLUSTER_VARIABLE}=0 in the environment before ray is imported, so that it "
                "listens on 127.0.0.1 only."
            )
    else:
        _connect(ray, wanted)
    try:
        yield ray
    finally:
        ray.shutdown()


def _disable_dashboard_lookup() -> None:
    """Tell Ray that there is no dashboard; otherwise Ray Train waits 12 s for it at the end.

    The address given here refuses connections at once. Other versions of Ray may store the address
    elsewhere, and then wait.
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
        raise InputError(
            f"No Ray cluster responded at address {address!r} ({error}). Start one there with `ray "
            "start --head`, or use 'local' for one on this machine."
        ) from error
