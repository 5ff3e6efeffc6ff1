"""The kernel's arguments: one record of addresses and numbers, and what keeps them alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.engines.fused import constants, threads, units
from deltaprop.engines.fused.kernel_rows import KernelRows
from deltaprop.engines.fused.layout import Room, layer_sizes
from deltaprop.model import Model

if TYPE_CHECKING:
    from jaxtyping import Shaped


class Frame:
    """The kernel's arguments: one record of addresses and numbers, and what keeps them alive."""

    def __init__(self, net: Model, rows: KernelRows, room: Room) -> None:
        self.net, self.room = net, room
        self.compiled = units.compiled(net, rows.source)
        record = np.zeros(1, constants.FRAME)
        self.at = {name: record[name] for name in constants.FRAME.names or ()}
        self._place, errors = address(record), np.zeros(2, np.int64)
        self._error = address(errors)  # of Numba's calling convention; nothing in there raises
        self._kept: list[Any] = [rows, errors]
        self.set(
            theta=net.theta, sizes=np.array(layer_sizes(net)), forward=self.compiled.forward,
            pull_back=self.compiled.pull_back, loss=self.compiled.loss,
            dropout=np.array([float(layer.dropout) for layer in net.layers]),
            L=net.n_layers, P=net.theta.size, N=rows.N,
            collapsed=self.compiled.collapsed, gather=self.compiled.gather,
            rows_times=self.compiled.rows_times, columns_times=self.compiled.columns_times,
            work=np.zeros(room.length, net.dtype), places=room.places, by_unit=room.by_unit,
            backward=room.backward, slab=room.slab, tile=room.tile, pieces=room.pieces,
            n_threads=room.n_threads, sync=np.zeros(16, np.int64),
            tile_claims=np.zeros(-(-room.slab // room.tile), np.int64),
            piece_claims=np.zeros(net.n_layers * constants.MOST_PIECES, np.int64),
            **rows.fields(),
        )  # fmt: skip

    def set(self, **fields: Any) -> None:
        """Fields of the record; arrays by address."""
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                self._kept.append(value)
                value = address(value)
            self.at[name][0] = value

    def call(self, entry: Any) -> None:
        """Run an entry of the kernel in all threads."""

        def thread(k: int) -> None:
            entry(self._error, self._error + 8, 1.0, k, self._place)

        if self.room.n_threads == 1:
            thread(0)
        else:
            threads.together(self.room.n_threads, thread)


def address(array: Shaped[np.ndarray, "..."]) -> int:
    """Where an array's numbers lie (a quicker way than `array.ctypes`)."""
    at: int = array.__array_interface__["data"][0]
    return at
