"""deltaprop: fully connected networks on your own table, back-propagation in closed form.

Names are imported when they are first used, so that ``import deltaprop`` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Activation": "deltaprop.activations",
    "Adam": "deltaprop.search",
    "AdamW": "deltaprop.search",
    "Checkpoint": "deltaprop.checkpoints",
    "Dense": "deltaprop.network",
    "KFAC": "deltaprop.search",
    "LBFGS": "deltaprop.search",
    "Loss": "deltaprop.losses",
    "MLPClassifier": "deltaprop.estimators",
    "MLPRegressor": "deltaprop.estimators",
    "Network": "deltaprop.network",
    "Privacy": "deltaprop.privacy",
    "Progress": "deltaprop.progress",
    "Record": "deltaprop.inspect.recording",
    "SGD": "deltaprop.search",
    "TabularClassifier": "deltaprop.estimators",
    "TabularRegressor": "deltaprop.estimators",
    "Watch": "deltaprop.inspect.page",
    "Xla": "deltaprop.engines.options",
    "cross_validate": "deltaprop.many",
    "explore": "deltaprop.inspect.page",
    "diagnose": "deltaprop.inspect.diagnosis",
    "fit": "deltaprop.training",
    "fit_many": "deltaprop.many",
    "load": "deltaprop.files",
    "report": "deltaprop.inspect.report",
    "save": "deltaprop.files",
}
_MODULES = {
    "activations",
    "cluster",
    "equations",
    "files",
    "initializers",
    "losses",
    "search",
    "tables",
    "track",
}
_MODULES_ELSEWHERE = {"schedules": "deltaprop.search.schedules"}

__all__ = [
    "KFAC",
    "LBFGS",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "Checkpoint",
    "Dense",
    "Loss",
    "MLPClassifier",
    "MLPRegressor",
    "Network",
    "Privacy",
    "Progress",
    "Record",
    "TabularClassifier",
    "TabularRegressor",
    "Watch",
    "Xla",
    "activations",
    "cluster",
    "cross_validate",
    "diagnose",
    "equations",
    "explore",
    "files",
    "fit",
    "fit_many",
    "initializers",
    "load",
    "losses",
    "report",
    "save",
    "schedules",
    "search",
    "tables",
    "track",
]

if TYPE_CHECKING:
    import deltaprop.activations as activations
    import deltaprop.cluster as cluster
    import deltaprop.equations as equations
    import deltaprop.files as files
    import deltaprop.initializers as initializers
    import deltaprop.losses as losses
    import deltaprop.search as search
    import deltaprop.tables as tables
    import deltaprop.track as track
    from deltaprop.activations import Activation
    from deltaprop.checkpoints import Checkpoint
    from deltaprop.engines.options import Xla
    from deltaprop.estimators import (
        MLPClassifier,
        MLPRegressor,
        TabularClassifier,
        TabularRegressor,
    )
    from deltaprop.files import load, save
    from deltaprop.inspect.diagnosis import diagnose
    from deltaprop.inspect.page import Watch, explore
    from deltaprop.inspect.recording import Record
    from deltaprop.inspect.report import report
    from deltaprop.losses import Loss
    from deltaprop.many import cross_validate, fit_many
    from deltaprop.network import Dense, Network
    from deltaprop.privacy import Privacy
    from deltaprop.progress import Progress
    from deltaprop.search import KFAC, LBFGS, SGD, Adam, AdamW, schedules
    from deltaprop.training import fit


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
    elif name in _MODULES or name in _MODULES_ELSEWHERE:
        value = importlib.import_module(_MODULES_ELSEWHERE.get(name, f"deltaprop.{name}"))
    else:
        raise AttributeError(f"module 'deltaprop' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
