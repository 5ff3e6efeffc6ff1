"""Models between the program and the workers."""

from __future__ import annotations

import copy
from typing import Any

from deltaprop.network import Network


def writable(model: Any) -> Any:
    """A copy to train: arrays that come from Ray's object store cannot be written to."""
    return copy.deepcopy(model)


def adopt(model: Any, trained: Any) -> None:
    """Make the program's model what a worker's copy of it has become."""
    if isinstance(model, Network):
        model.theta[...] = trained.theta  # in place: others may hold views
    else:
        vars(model).update(vars(trained))
