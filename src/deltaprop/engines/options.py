"""Engines with settings of their own: what ``engine=`` takes beside a name."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral

DTYPES = (None, "bfloat16")


@dataclass(frozen=True)
class Xla:
    """The xla engine: JAX on CPUs, GPUs and TPUs. ``engine="xla"`` is ``engine=Xla()``.

    Parameters
    ----------
    dtype : {None, "bfloat16"}, default=None
        Of the layers' products and activations. None is the network's own dtype. With "bfloat16"
        θ, its updates, the loss and its derivative stay in the network's dtype.
    devices : int, optional
        How many of this process's devices share each batch; by default all.
    shared_rows : bool, default=False
        Where many processes train together: whether all are given the same rows, as one process
        would be, and each takes its share of every batch. By default each has rows of its own. Of
        a shared stream each reads its part of every epoch.
    shard_parameters : bool, default=False
        Whether θ and the solver's memory are divided among the devices, for layers that are too
        large for one: each keeps a part, and gathers the W_l for a step (ZeRO, Rajbhandari et al.
        2020, arXiv:1910.02054). First-order solvers only.

    Examples
    --------
    >>> import deltaprop as dp
    >>> dp.Xla(dtype="bfloat16")
    Xla(dtype='bfloat16', devices=None, shared_rows=False, shard_parameters=False)
    """

    dtype: str | None = None
    devices: int | None = None
    shared_rows: bool = False
    shard_parameters: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype of Xla must be None or 'bfloat16', got {self.dtype!r}.")
        n = self.devices
        if n is not None and (not isinstance(n, Integral) or isinstance(n, bool) or n < 1):
            raise ValueError(f"devices of Xla must be an int >= 1 or None, got {n!r}.")
