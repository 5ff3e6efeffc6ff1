"""Fitted MLP estimators from scikit-learn's, and back."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
from sklearn import neural_network
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.validation import check_is_fitted

from deltaprop.errors import InputError, InputTypeError
from deltaprop.estimators import MLPClassifier, MLPRegressor
from deltaprop.estimators._base import BaseMLP
from deltaprop.export.assembly import Layer, assembled
from deltaprop.network import Network
from deltaprop.training.stopping import Plateau

PAIRS = {
    neural_network.MLPClassifier: MLPClassifier,
    neural_network.MLPRegressor: MLPRegressor,
}
"""The classes of scikit-learn, and ours."""

ACTIVATIONS = ("identity", "logistic", "tanh", "relu")
CURVES = (
    "loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_", "n_iter_",
    "t_", "n_features_in_", "feature_names_in_",
)  # fmt: skip
"""The fitted attributes that both have, besides the weights and the classes."""


def from_sklearn(model: Any) -> MLPClassifier | MLPRegressor:
    """The estimator that predicts what a fitted one of scikit-learn predicts.

    Parameters
    ----------
    model : sklearn.neural_network.MLPClassifier or MLPRegressor

    Returns
    -------
    MLPClassifier or MLPRegressor
        With the same parameters, weights, classes and curves. ``fit`` with ``warm_start=True``, and
        ``partial_fit``, continue from the weights; the solver's state is not taken over.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is another estimator.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.neural_network import MLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> theirs = MLPClassifier(8, solver="lbfgs", max_iter=50, random_state=0).fit(X, y)
    >>> ours = dp.from_sklearn(theirs)
    >>> bool(abs(ours.predict_proba(X) - theirs.predict_proba(X)).max() < 1e-12)
    True
    """
    kind = next((ours for theirs, ours in PAIRS.items() if isinstance(model, theirs)), None)
    if kind is None:
        raise InputTypeError(
            "model must be scikit-learn's MLPClassifier or MLPRegressor, got "
            f"{type(model).__name__}."
        )
    check_is_fitted(model)
    ours: MLPClassifier | MLPRegressor = kind(**model.get_params(deep=False))
    fitted = _curves(model)
    stopped = "max_iter" if model.n_iter_ >= model.max_iter else "converged"
    plateau = vars(Plateau(model.tol, model.n_iter_no_change))
    fitted |= {
        "stop_reason_": stopped, "validation_loss_curve_": None, "_progress": {},
        "_plateau": plateau,
    }  # fmt: skip
    for absent in ("loss_curve_", "loss_"):
        fitted.setdefault(absent, [] if absent == "loss_curve_" else float("nan"))
    if kind is MLPClassifier:
        fitted |= {"classes_": model.classes_, "_kind": _kind_of(model)}
    else:
        fitted["_n_targets"] = model.n_outputs_
    ours.__deltaprop_restore__(fitted, _network_of(model))
    return ours


def _curves(model: Any) -> dict[str, Any]:
    """Copies of the fitted attributes that both have; warm starts append to the lists."""
    return {name: copy.copy(getattr(model, name)) for name in CURVES if hasattr(model, name)}


def _kind_of(model: Any) -> str:
    kind: str = model._label_binarizer.y_type_
    return "multilabel" if kind.startswith("multilabel") else kind


def _network_of(model: Any) -> Network:
    """The network of the weights; the loss follows from the output activation."""
    activations = [model.activation] * (len(model.coefs_) - 1) + [model.out_activation_]
    layers = [
        Layer(W, b, f) for W, b, f in zip(model.coefs_, model.intercepts_, activations, strict=True)
    ]
    return assembled(layers, None, l2=float(model.alpha), reduction="sklearn")


def to_sklearn(model: Any) -> Any:
    """The estimator of scikit-learn that predicts what a fitted MLP estimator predicts.

    Parameters
    ----------
    model : MLPClassifier or MLPRegressor
        Its hidden layers must have the same activation: "identity", "logistic", "tanh" or "relu".

    Returns
    -------
    sklearn.neural_network.MLPClassifier or MLPRegressor
        With the same weights, classes and curves, and those parameters that scikit-learn has.
        Others, such as dropout or another loss, only matter in ``fit``.

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    TypeError
        If it is another estimator.
    ValueError
        If scikit-learn's class cannot predict the same; the message says why.

    Examples
    --------
    >>> import deltaprop as dp
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True)
    >>> ours = dp.MLPClassifier(8, dropout=0.1, max_iter=20, random_state=0).fit(X, y)
    >>> theirs = dp.to_sklearn(ours)
    >>> bool(abs(ours.predict_proba(X) - theirs.predict_proba(X)).max() < 1e-12)
    True
    """
    kind = next((theirs for theirs, ours in PAIRS.items() if isinstance(model, ours)), None)
    if kind is None:
        raise InputTypeError(
            f"model must be an MLPClassifier or MLPRegressor, got {type(model).__name__}."
        )
    net = model.fitted_network()
    theirs = kind(**_parameters(model, net, kind))
    vars(theirs).update(_curves(model))
    theirs.coefs_ = [W.copy() for W in net.W]
    theirs.intercepts_ = [b.copy() for b in net.b]
    theirs.n_layers_, theirs.n_outputs_ = net.n_layers + 1, net.n_outputs
    theirs.out_activation_ = net.layers[-1].activation.name
    if isinstance(model, MLPClassifier):
        theirs.classes_ = model.classes_
        theirs._label_binarizer = _binarizer(model)
    return theirs


def _parameters(model: BaseMLP, net: Network, kind: Any) -> dict[str, Any]:
    """Those parameters that scikit-learn has too, with values that it accepts."""
    hidden = [layer.activation.name for layer in net.layers[:-1]]
    if len(set(hidden)) > 1 or not set(hidden) <= set(ACTIVATIONS):
        raise InputError(
            f"scikit-learn has one activation for all hidden layers, which is one of "
            f"{', '.join(ACTIVATIONS)}; the model has {', '.join(hidden)}."
        )
    if getattr(model, "_kind", None) == "ordinal":
        raise InputError(
            "scikit-learn's MLPClassifier has no classes with an order, which loss='ordinal' "
            "predicts; export the model to ONNX, C or Python instead."
        )
    out = net.layers[-1].activation.name
    outs = ("logistic", "softmax") if isinstance(model, MLPClassifier) else ("identity", "exp")
    if out not in outs or (isinstance(model, MLPClassifier) and len(model.classes_) == 1):
        raise InputError(
            f"scikit-learn's {kind.__name__} cannot predict the same with the loss "
            f"{net.loss_function.name!r} and the output activation {out!r}; it needs "
            f"{' or '.join(map(repr, outs))}, and two classes or more."
        )
    theirs = kind().get_params(deep=False)
    shared = {name: value for name, value in vars(model).items() if name in theirs}
    shared["activation"] = hidden[0] if hidden else "relu"
    if "loss" in theirs:
        shared["loss"] = "poisson" if out == "exp" else "squared_error"
    for name, known in KNOWN.items():
        if shared[name] not in known:
            shared[name] = theirs[name]
    return shared


KNOWN = {
    "solver": ("lbfgs", "sgd", "adam"),
    "learning_rate": ("constant", "invscaling", "adaptive"),
}
"""The values of parameters that scikit-learn accepts; others become its default."""


def _binarizer(model: MLPClassifier) -> LabelBinarizer:
    """scikit-learn's encoding of the classes."""
    several = model.target_kind() == "labels"
    K = len(model.classes_)
    return LabelBinarizer().fit(np.eye(K, dtype=int) if several else model.classes_)
