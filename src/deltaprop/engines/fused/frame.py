"""The kernel's arguments: one record of addresses and numbers, and the arrays it refers to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from deltaprop.data.rows import Rows
from deltaprop.engines.fused import constants, units
from deltaprop.engines.fused.kernel_rows import KernelRows
from deltaprop.engines.fused.layout import Room, blocks_of, training_room
from deltaprop.engines.fused.threads import CREW, Assistant
from deltaprop.functions.masks import keys_of_units
from deltaprop.model import Model
from deltaprop.model.groups import Groups

if TYPE_CHECKING:
    from jaxtyping import Shaped


REDUCTIONS = {
    "sum": constants.SUM, "mean": constants.MEAN, "sklearn": constants.SKLEARN
}  # fmt: skip


class Frame:
    """A record of type ``constants.FRAME``; it keeps the arrays alive whose addresses it contains.

    Parameters
    ----------
    net : Model
        The network; the kernel reads and updates its ``theta``.
    rows : KernelRows
        The rows to train on or to predict.
    room : Room
        The division of the work, and the places of quantities in the working memory.
    """

    def __init__(self, net: Model, rows: KernelRows, room: Room) -> None:
        self.net, self.room = net, room
        self.n_threads, self.relievable, self.long = room.n_threads, room.relievable, room.long
        self.sparse = rows.sparse
        self.assistants: dict[int, Assistant] = {}
        self.led = False
        slots = max(room.n_threads, 2)  # one for the relief
        words = constants.SLOTS + constants.WORDS * slots + constants.MASKS
        self.sync = np.zeros(words, np.int64)
        self.compiled = units.compiled(net, rows.source, room.precision)
        memory, errors = np.zeros(constants.FRAME.itemsize, np.uint8), np.zeros(2, np.int64)
        record = memory.view(constants.FRAME)
        self.at = {name: record[name] for name in constants.FRAME.names or ()}
        self._place = address(memory)
        self._error = address(errors)  # required by Numba's calling convention; unused
        self._kept: list[Any] = [rows, errors]
        self._missing: list[tuple[np.ndarray, np.ndarray]] = []
        self._set_network()
        self._set_workspace()
        self._set_claims(rows.N)
        self.set(N=rows.N, **rows.fields())

    @classmethod
    def for_training(
        cls, model: Model, rows: Rows, batch: int, n_threads: int | None = None,
        reproducible: bool = False, precision: str | None = None,
    ) -> Frame:  # fmt: skip
        """A frame for gradients of batches of `batch` rows.

        Its update rule, learning rates, row order and result are still to be set.
        """
        given = KernelRows(model, rows)
        room = training_room(
            model, given.K, batch, n_threads, given.sparse, reproducible, precision
        )
        frame = cls(model, given, room)
        frame.set(
            G=np.zeros_like(model.theta), batch=batch, rows_of_epoch=len(rows),
            parts=np.zeros(2 * model.n_layers * (constants.MOST_PIECES + 1)),
            reduction=REDUCTIONS[model.reduction], l2=model.l2,
        )  # fmt: skip
        return frame

    def _set_network(self) -> None:
        net, compiled, layers = self.net, self.compiled, self.room.places.layers.copy()
        layers["forward"], layers["pull_back"] = compiled.forward, compiled.pull_back
        layers["dropout"] = [float(layer.dropout) for layer in net.layers]
        for name in ("W", "b", "r", "alpha"):
            layers[f"rate_{name}"] = 1
        self.layers = layers
        for l, groups in net.layout.grouped:
            self._set_groups(l, groups)
        if net.layout.scaled:
            self.set(scaled=np.zeros_like(net.theta))
        self.set(
            unit_keys=keys_of_units(max(layer.units for layer in net.layers), np),
            theta=net.theta, P=net.theta.size, layers=layers.view(np.uint8), L=net.n_layers,
            frame=self._place, part=compiled.part, loss=compiled.loss,
            collapsed=compiled.collapsed, gather=compiled.gather,
            **compiled.products,
        )  # fmt: skip

    def _set_groups(self, l: int, groups: Groups) -> None:
        """The groups of a layer. Weights that do not exist are 0, and so is their gradient."""
        self._missing.append((self.net.W[l], ~groups.connected()))
        blocks = blocks_of(self.net).get(l)
        if blocks is None or (self.sparse and l == 0):
            self._set_arrays(l, input_groups=groups.inputs, unit_groups=groups.units)
        else:
            self._set_arrays(l, blocks=blocks.view(np.int64))
            self.layers["n_blocks"][l] = len(blocks)
        self.set(by_layer=True)

    def _set_arrays(self, l: int, **arrays: Any) -> None:
        """Store the addresses of arrays of whole numbers in the record of a layer."""
        for name, numbers in arrays.items():
            array = np.array(numbers, np.int64)
            self._kept.append(array)
            self.layers[name][l] = address(array)

    def _set_workspace(self) -> None:
        room, places = self.room, self.room.places
        self._work = np.zeros(places.length, self.net.dtype)
        self.set(
            work=self._work, batch_targets=places.batch_targets,
            batch_losses=places.batch_losses, scratch=places.scratch, blocks=places.blocks,
            slab=room.slab, tile=room.tile, unit=room.unit,
            pieces=room.pieces, by_unit=room.by_unit,
            backward=room.backward, n_threads=room.n_threads, sync=self.sync,
            words=len(self.sync),
        )  # fmt: skip

    def _set_claims(self, N: int) -> None:
        tiles = -(-max(N, self.room.slab) // self.room.tile)
        pieces = self.net.n_layers * constants.MOST_PIECES
        self.set(claims=np.zeros(max(tiles, pieces, self.room.n_threads), np.int64))

    def set(self, **fields: Any) -> None:
        """Set fields of the record, by name. The record stores the address of an array."""
        for name, value in fields.items():
            if isinstance(value, np.ndarray):
                self._kept.append(value)
                value = address(value)
            self.at[name][0] = value

    def set_rates(self, factors: Iterable[float]) -> None:
        """Multiply the steps of the parts of θ, in their order, by these factors."""
        for part, factor in zip(self.net.layout.parts, factors, strict=True):
            self.layers[f"rate_{part.name}"][part.layer] = factor
        self.set(by_layer=True)

    def rows_of(self, place: int, n: int, width: int) -> Shaped[np.ndarray, "n width"]:
        """The first n rows of a slab at a place in the working memory, as a view."""
        values = self._work[place : place + n * width]
        return values.reshape(width, n).T if self.room.by_unit else values.reshape(n, width)

    def run(self) -> None:
        """Train or predict in this thread, assisted by others if they are available."""
        CREW.begin(self)
        try:
            self.enter(0)
        finally:
            CREW.end(self)

    def enter(self, k: int) -> None:
        """Run the kernel as thread k: 0 leads, the others assist or relieve it."""
        if k == 0:
            for W, missing in self._missing:  # the user may have changed them since the last call
                np.copyto(W, 0, where=missing)
        self.compiled.enter(self._error, self._error + 8, 1.0, k, self._place)

    def slot(self, k: int) -> int:
        """The position in `sync` where the slot of thread k begins."""
        return constants.SLOTS + constants.WORDS * k


def address(array: Shaped[np.ndarray, "..."]) -> int:
    """The address of an array's first number.

    Faster than ``array.ctypes`` for arrays of numbers, but slow for arrays of records.
    """
    at: int = array.__array_interface__["data"][0]
    return at
