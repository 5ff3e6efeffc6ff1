"""Which rows of a batch belong to this process, and their places in the batch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.sharding import Mesh

if TYPE_CHECKING:
    from jaxtyping import Int


class Shares:
    """A batch consists of one share for each process, in order; the last may be shorter.

    Parameters
    ----------
    shared_rows : bool
        Whether all processes are given the same rows, of which `batch_size` form a batch.
        Otherwise each process has different rows and contributes `batch_size` of them.
    """

    def __init__(self, shared_rows: bool, batch_size: int, mesh: Mesh) -> None:
        self._processes, each = mesh.shape["process"], mesh.shape["device"]
        self._shared, self._batch_size = shared_rows, batch_size
        most = share(batch_size, self._processes) if shared_rows else batch_size
        self.width = -(-most // each) * each
        """The places for rows of one process in a batch: the same number on each of its devices."""

    def of_all(self, N: Any) -> Any:
        """The number of rows in all processes, if each of them is given N."""
        return N if self._shared else N * self._processes

    def of_batches(
        self, order: Int[np.ndarray, " N"], first: int, S: int
    ) -> tuple[Int[np.ndarray, "S B"], Int[np.ndarray, " S"]]:
        """This process's rows of S batches from number `first` on, and the size of each batch.

        Unused places repeat the first row of the batch, so that they are valid row numbers.
        """
        starts = (first + np.arange(S)) * self._batch_size
        counts = np.minimum(self._batch_size, len(order) - starts)
        own, before = counts, np.zeros_like(counts)
        if self._shared:
            own = share(counts, self._processes)
            before = jax.process_index() * own
        places = np.arange(self.width)[None, :]
        at = before[:, None] + places
        is_row = (places < own[:, None]) & (at < counts[:, None])
        rows = order[starts[:, None] + np.where(is_row, at, 0)].astype(np.int32)
        return rows, self.of_all(counts)


def share(count: Any, processes: int) -> Any:
    """The number of rows of a batch for each process; the last one may have fewer."""
    return -(-count // processes)
