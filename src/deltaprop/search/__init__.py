"""Gradient search: how θ moves. Update rules, schedules, stopping, and the loop with its events.

Nothing here knows the network or who computes the gradient: an engine does one epoch at a time.
"""

from deltaprop.search import schedules
from deltaprop.search.loop import Engine, Epoch, History, Progress, search
from deltaprop.search.natural_gradient import KFAC
from deltaprop.search.schedules import Schedule
from deltaprop.search.solvers import LBFGS, SGD, Adam, AdamW, FirstOrder, Solver
from deltaprop.search.stopping import Plateau

__all__ = [
    "KFAC",
    "LBFGS",
    "SGD",
    "Adam",
    "AdamW",
    "Engine",
    "Epoch",
    "FirstOrder",
    "History",
    "Plateau",
    "Progress",
    "Schedule",
    "Solver",
    "schedules",
    "search",
]
