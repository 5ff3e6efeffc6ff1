"""Deprecated: the former place of names that have moved.

Solvers and schedules are in :mod:`deltaprop.optim`, the training loop and its events in
:mod:`deltaprop.training`. All of them are also available as ``deltaprop.NAME``.
"""

from deltaprop.optim import schedules
from deltaprop.optim.natural_gradient import KFAC
from deltaprop.optim.schedules import Schedule
from deltaprop.optim.solvers import LBFGS, SGD, Adam, AdamW, FirstOrder, Solver
from deltaprop.optim.state import TrainingState as Progress
from deltaprop.training.history import Epoch, History
from deltaprop.training.stopping import Plateau

__all__ = [
    "KFAC",
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "Epoch",
    "FirstOrder",
    "History",
    "Plateau",
    "Progress",
    "Schedule",
    "Solver",
    "schedules",
]
