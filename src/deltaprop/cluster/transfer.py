"""Sending models to the workers and back."""

from __future__ import annotations

import copy
from typing import Any

from deltaprop.network import Network


def writable(model: Any) -> Any:
    """A copy that can be trained: arrays from the object store of Ray are read-only."""
    return copy.deepcopy(model)


def adopt(model: Any, trained: Any) -> None:
    """Update the model of the caller from the copy that a worker has trained."""
    if isinstance(model, Network):
        model.theta[...] = trained.theta  # in place, because others may hold views
    else:
        vars(model).update(vars(trained))
