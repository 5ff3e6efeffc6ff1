"""The settings of the xla engine. This module does not import JAX."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from deltaprop.errors import InputError
from deltaprop.functions.checks import is_int

DTYPES = (None, "bfloat16")


@dataclass(frozen=True)
class XlaOptions:
    """The settings of :class:`deltaprop.Xla`, which documents them."""

    dtype: str | None = None
    devices: int | None = None
    shared_rows: bool = False
    shard_parameters: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in DTYPES:
            raise InputError(f"dtype of Xla must be None or 'bfloat16', got {self.dtype!r}.")
        n = self.devices
        if n is not None and not is_int(n, 1):
            raise InputError(f"devices of Xla must be an int >= 1 or None, got {n!r}.")
        for name in ("shared_rows", "shard_parameters"):
            if not isinstance(value := getattr(self, name), (bool, np.bool_)):
                raise InputError(f"{name} of Xla must be True or False, got {value!r}.")
