r"""Losses with loss′ and loss″: defined once and used by every engine.

A :class:`Loss` holds plain functions of the encoded target t and the network's output ŷ, written
for any array namespace `xp`. They return the summands of equation (1.3), Σ_n Σ_h loss(y, ŷ), and
their derivatives with respect to ŷ.

If a loss and the activation of the output layer belong together (softmax with cross-entropy, exp
with Poisson, ...), ``closed`` holds a numerically stable form of the loss and of δ in terms of the
pre-activation a. Every other pair goes through the general chain of equation (1.8).

======================  ==================================================================
loss                    settings, with their defaults: ``get(name, setting=…)``
======================  ==================================================================
`squared_error`         none; half the squared error
`absolute_error`        none
`huber`                 ``delta=1.0``: beyond this residual, the loss is linear
`log_cosh`              none
`quantile`              ``quantiles=0.5``: one level or several, each in (0, 1)
`poisson`, `gamma`      none; half the deviance
`tweedie`               ``power=1.5``: of the variance; > 1, not 2
`gaussian_nll`          none; predicts a mean and a variance
`binary_cross_entropy`  ``label_smoothing=0.0``: in [0, 1); ``class_weight=None``: a pair
`cross_entropy`         ``label_smoothing=0.0``; ``class_weight=None``: one for each class
`focal`                 ``gamma=2.0``: how much less sure predictions count
`hinge`                 none
======================  ==================================================================

To add a built-in loss, write a function that returns it in the module of its family, decorate it
with ``@register(name)``, and list it in that module's ``__all__``. A new family is a new module,
imported below.

Examples
--------
>>> import numpy as np
>>> import deltaprop as dp
>>> huber = dp.losses.get("huber", delta=2.0)
>>> huber.evaluate(np.array([[0.0]]), np.array([[1.0]]), np)
array([[0.5]])
"""

# ruff: isort: skip_file
# The order of the families is the order of NAMES.
# ruff: noqa: F403

from __future__ import annotations

from deltaprop.functions.losses.regression import *
from deltaprop.functions.losses.quantile import *
from deltaprop.functions.losses.counts import *
from deltaprop.functions.losses.gaussian import *
from deltaprop.functions.losses.classification import *
from deltaprop.functions.losses.focal import *
from deltaprop.functions.losses.hinge import *
from deltaprop.functions.losses.loss import (
    ClosedForm as ClosedForm,
    Loss as Loss,
    get as get,
    names as _names,
)
from deltaprop.functions.losses import targets as targets

NAMES = _names()
"""The names of all built-in losses."""
