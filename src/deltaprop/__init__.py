"""deltaprop: fully connected networks for tables, with back-propagation in closed form.

Names are imported when they are first used, so that ``import deltaprop`` is fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deltaprop._version import __version__
from deltaprop.errors import naming_missing_packages

_HOME = {
    "Activation": "deltaprop.functions.activations",
    "Adam": "deltaprop.optim.solvers",
    "AdamW": "deltaprop.optim.solvers",
    "Checkpoint": "deltaprop.training.checkpoint",
    "Dense": "deltaprop.network",
    "KFAC": "deltaprop.optim.natural_gradient",
    "LBFGS": "deltaprop.optim.solvers",
    "Loss": "deltaprop.functions.losses",
    "MLPClassifier": "deltaprop.estimators",
    "MLPRegressor": "deltaprop.estimators",
    "Muon": "deltaprop.optim.solvers",
    "Network": "deltaprop.network",
    "Periodic": "deltaprop.network",
    "Privacy": "deltaprop.optim.privacy",
    "Progress": "deltaprop.training.progress",
    "Record": "deltaprop.training.record",
    "SGD": "deltaprop.optim.solvers",
    "TabularClassifier": "deltaprop.estimators",
    "TabularRegressor": "deltaprop.estimators",
    "Watch": "deltaprop.inspect.interactive",
    "Xla": "deltaprop.engines.xla_engine",
    "cross_validate": "deltaprop.training.many",
    "explore": "deltaprop.inspect.interactive",
    "diagnose": "deltaprop.inspect.diagnosis",
    "fit": "deltaprop.training.fitting",
    "fit_many": "deltaprop.training.many",
    "from_keras": "deltaprop.export",
    "from_onnx": "deltaprop.export",
    "from_sklearn": "deltaprop.export",
    "from_torch": "deltaprop.export",
    "load": "deltaprop.files",
    "report": "deltaprop.inspect.report",
    "save": "deltaprop.files",
    "serve": "deltaprop.serving",
    "to_c": "deltaprop.export",
    "to_onnx": "deltaprop.export",
    "to_python": "deltaprop.export",
    "to_sklearn": "deltaprop.export",
    "to_torch": "deltaprop.export",
    "tune": "deltaprop.tuning",
}
_MODULES = {
    "activations": "deltaprop.functions.activations",
    "cluster": "deltaprop.cluster",
    "equations": "deltaprop.derivation.equations",
    "files": "deltaprop.files",
    "initializers": "deltaprop.functions.initializers",
    "losses": "deltaprop.functions.losses",
    "schedules": "deltaprop.optim.schedules",
    "search": "deltaprop.search",
    "tables": "deltaprop.tables",
    "track": "deltaprop.training.trackers",
}

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
    "Muon",
    "Network",
    "Periodic",
    "Privacy",
    "Progress",
    "Record",
    "TabularClassifier",
    "TabularRegressor",
    "Watch",
    "Xla",
    "__version__",
    "activations",
    "cluster",
    "cross_validate",
    "diagnose",
    "equations",
    "explore",
    "files",
    "fit",
    "fit_many",
    "from_keras",
    "from_onnx",
    "from_sklearn",
    "from_torch",
    "initializers",
    "load",
    "losses",
    "report",
    "save",
    "schedules",
    "search",
    "serve",
    "tables",
    "to_c",
    "to_onnx",
    "to_python",
    "to_sklearn",
    "to_torch",
    "track",
    "tune",
]

if TYPE_CHECKING:
    import deltaprop.cluster as cluster
    import deltaprop.derivation.equations as equations
    import deltaprop.files as files
    import deltaprop.functions.activations as activations
    import deltaprop.functions.initializers as initializers
    import deltaprop.functions.losses as losses
    import deltaprop.search as search
    import deltaprop.tables as tables
    import deltaprop.training.trackers as track
    from deltaprop.engines.xla_engine import Xla
    from deltaprop.estimators import (
        MLPClassifier,
        MLPRegressor,
        TabularClassifier,
        TabularRegressor,
    )
    from deltaprop.export import (
        from_keras,
        from_onnx,
        from_sklearn,
        from_torch,
        to_c,
        to_onnx,
        to_python,
        to_sklearn,
        to_torch,
    )
    from deltaprop.files import load, save
    from deltaprop.functions.activations import Activation
    from deltaprop.functions.losses import Loss
    from deltaprop.inspect.diagnosis import diagnose
    from deltaprop.inspect.interactive import Watch, explore
    from deltaprop.inspect.report import report
    from deltaprop.network import Dense, Network, Periodic
    from deltaprop.optim import schedules
    from deltaprop.optim.natural_gradient import KFAC
    from deltaprop.optim.privacy import Privacy
    from deltaprop.optim.solvers import LBFGS, SGD, Adam, AdamW, Muon
    from deltaprop.serving import serve
    from deltaprop.training.checkpoint import Checkpoint
    from deltaprop.training.fitting import fit
    from deltaprop.training.many import cross_validate, fit_many
    from deltaprop.training.progress import Progress
    from deltaprop.training.record import Record
    from deltaprop.tuning import tune


def __getattr__(name: str) -> Any:
    if name not in _HOME and name not in _MODULES:
        raise AttributeError(f"module 'deltaprop' has no attribute {name!r}")
    with naming_missing_packages(f"deltaprop.{name}"):
        if name in _HOME:
            value = getattr(importlib.import_module(_HOME[name]), name)
        else:
            value = importlib.import_module(_MODULES[name])
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
