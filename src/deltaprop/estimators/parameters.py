"""The parameters of all estimators, each declared once with its type, default and documentation.

To add a parameter, declare it in one of the groups below and read ``self.name`` in the estimator.
A group is a dataclass; an estimator inherits from the dataclass that combines its groups. The order
of the parameters is that of any dataclass: the groups from the last base class to the first, and
within a group the order of the declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from os import PathLike
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, Options, StrOptions

from deltaprop import engines
from deltaprop.engines.xla_engine import Xla
from deltaprop.estimators.declaration import parameter
from deltaprop.functions import activations, initializers, losses
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss
from deltaprop.optim import schedules, solvers
from deltaprop.optim.privacy import Privacy
from deltaprop.optim.schedules import Schedule
from deltaprop.optim.solvers import Solver
from deltaprop.training.callbacks import Callback
from deltaprop.training.checkpoint import Checkpoint
from deltaprop.training.record import Record

COUNT = Interval(Integral, 1, None, closed="left")
NON_NEGATIVE = Interval(Real, 0, None, closed="left")
POSITIVE = Interval(Real, 0, None, closed="neither")
FRACTION = Interval(Real, 0, 1, closed="left")
WHOLE = Interval(Integral, 0, None, closed="left")
AUTO = "auto"

_TASKS = {name: losses.get(name).task for name in losses.NAMES}
CLASSIFIER_LOSSES = (
    "log_loss",
    "ordinal",
    *(n for n, task in _TASKS.items() if task == "classification"),
)
REGRESSOR_LOSSES = tuple(name for name, task in _TASKS.items() if task == "regression")


def _listed(names: Sequence[str]) -> str:
    """The names in a sentence: "a", "b" or "c"."""
    *most, last = (f'"{name}"' for name in names)
    return f"{', '.join(most)} or {last}"


# fmt: off
# ---------------------------------------------------------------- the MLP estimators


@dataclass(eq=False, repr=False)
class SklearnParameters:
    """The parameters of scikit-learn's ``MLPClassifier`` and ``MLPRegressor``, in its order."""

    hidden_layer_sizes: int | Sequence[int] | np.ndarray = parameter(
        (100,), "int or array-like of int", ["array-like", COUNT],
        "Number of units of each hidden layer.",
    )
    activation: str | Activation | Sequence[str | Activation] = parameter(
        "relu", "str, Activation or list of them",
        [StrOptions(set(activations.NAMES)), Activation, "array-like"],
        "Activation function of the hidden layers: one for all layers or one for each. It is a "
        "name from ``deltaprop.activations.NAMES`` or a custom :class:`deltaprop.Activation`.",
    )

    _: KW_ONLY

    solver: str | Solver = parameter(
        "adam", "str or Solver", [StrOptions(set(solvers.NAMES)), Solver],
        f"Optimizer: {_listed(solvers.NAMES)}, whose settings are parameters of this estimator, or "
        "an object that contains its settings, such as ``deltaprop.KFAC()``.",
    )
    alpha: float = parameter(
        0.0001, "float >= 0", [NON_NEGATIVE],
        "Strength of the L2 penalty, alpha / 2 ‖W‖² divided by the (weighted) batch size.",
    )
    batch_size: int | str = parameter(
        "auto", 'int >= 1 or "auto"', [StrOptions({"auto"}), COUNT],
        'Number of rows of a mini-batch; "auto" is min(200, n_samples). L-BFGS uses all rows.',
    )
    learning_rate: str | Schedule = parameter(
        "constant", "str or Schedule", [StrOptions(set(schedules.NAMES)), Schedule],
        f"Schedule of the learning rate: {_listed(schedules.NAMES)}, or an object from "
        "``deltaprop.schedules``. Unlike in scikit-learn, it applies to every first-order solver.",
    )
    learning_rate_init: float = parameter(
        0.001, "float > 0", [POSITIVE],
        "Initial learning rate of the first-order solvers.",
    )
    power_t: float = parameter(
        0.5, "float >= 0", [NON_NEGATIVE],
        'Exponent of the schedule "invscaling".',
    )
    max_iter: int = parameter(
        200, "int >= 1", [COUNT],
        "Maximum number of epochs, or of iterations of L-BFGS.",
    )
    shuffle: bool = parameter(
        True, "bool", ["boolean"],
        "Whether to shuffle the rows before each epoch.",
    )
    random_state: int | np.random.RandomState | None = parameter(
        None, "int, RandomState or None", ["random_state"],
        "Seed of the initial weights, the validation split, the order of the rows and dropout. "
        "Pass an int for reproducible results.",
    )
    tol: float = parameter(
        1e-4, "float >= 0", [NON_NEGATIVE],
        "Minimum change of the loss or the validation score that counts as an improvement. L-BFGS "
        "stops when the largest component of the projected gradient is below it.",
    )
    verbose: bool | int = parameter(
        False, "bool or int", ["verbose"],
        "Whether to print the loss and the validation score of each epoch.",
    )
    warm_start: bool = parameter(
        False, "bool", ["boolean"],
        "Whether ``fit`` starts from the weights of the previous fit instead of new ones.",
    )
    momentum: float = parameter(
        0.9, "float in [0, 1]", [Interval(Real, 0, 1, closed="both")],
        'Momentum of the solver "sgd".',
    )
    nesterovs_momentum: bool = parameter(
        True, "bool", ["boolean"],
        'Whether the solver "sgd" uses Nesterov\'s momentum.',
    )
    early_stopping: bool = parameter(
        False, "bool", ["boolean"],
        "Whether to stop when the score on validation data no longer improves, and to restore the "
        "weights of the best epoch. It applies to the first-order solvers.",
    )
    validation_fraction: float = parameter(
        0.1, "float in [0, 1)", [FRACTION],
        "Fraction of the rows held out as validation data with `early_stopping`, unless ``fit`` "
        "is given X_val and y_val.",
    )
    beta_1: float = parameter(
        0.9, "float in [0, 1)", [FRACTION],
        "Decay rate of Adam's, AdamW's and Muon's average of the gradient.",
    )
    beta_2: float = parameter(
        0.999, "float in [0, 1)", [FRACTION],
        "Decay rate of Adam's, AdamW's and Muon's average of the squared gradient.",
    )
    epsilon: float = parameter(
        1e-8, "float > 0", [POSITIVE],
        "Term in the denominator of the steps of Adam, AdamW and Muon, for numerical stability.",
    )
    n_iter_no_change: float = parameter(
        10, "int >= 1 or inf", [COUNT, Options(Real, {np.inf})],
        "Number of epochs without an improvement by `tol` after which training stops.",
    )
    max_fun: int = parameter(
        15000, "int >= 1", [COUNT],
        "Maximum number of evaluations of the loss by L-BFGS.",
    )


@dataclass(eq=False, repr=False, kw_only=True)
class OwnParameters:
    """The parameters of both estimators that scikit-learn's classes do not have."""

    out_activation: str | Activation = parameter(
        "auto", "str or Activation", [StrOptions({"auto", *activations.NAMES}), Activation],
        'Activation function of the output layer; "auto" selects the one that fits the loss.',
    )
    dropout: float | Sequence[float] = parameter(
        0.0, "float in [0, 1) or list of float", [FRACTION, "array-like"],
        "Probability with which a training step sets an output of a hidden layer to zero: one for "
        "all layers or one for each.",
    )
    dropout_schedule: str | Schedule = parameter(
        "constant", "str or Schedule", [StrOptions(set(schedules.NAMES) - {"adaptive"}), Schedule],
        'By which the dropout is multiplied over time: a schedule as for `learning_rate`, such as '
        '"flat_cosine", except for "adaptive".',
    )
    clip_norm: float | None = parameter(
        None, "float > 0 or None", [None, POSITIVE],
        "Maximum Euclidean norm of the gradient over all weights and biases. A longer gradient is "
        "scaled down.",
    )
    weight_decay: float = parameter(
        0.01, "float >= 0", [NON_NEGATIVE],
        'Decoupled weight decay of the solvers "adamw" and "muon".',
    )
    weight_decay_schedule: str | Schedule = parameter(
        "constant", "str or Schedule", [StrOptions(set(schedules.NAMES) - {"adaptive"}), Schedule],
        'By which the weight decay is multiplied over time: a schedule as for `learning_rate`, '
        'such as "flat_cosine", except for "adaptive".',
    )
    input_scale: float = parameter(
        0.0, "float >= 0", [NON_NEGATIVE],
        'If not 0, the solvers "adam", "adamw" and "muon" optimize a factor of each input as well, '
        "with a learning rate that is larger by `input_scale`; see :class:`deltaprop.Adam`.",
    )
    periodic: int = parameter(
        0, "int >= 0", [WHOLE],
        "Number of periodic features of each input: cosines of frequencies that are trained. They "
        "and the input are mapped to 4 units, before the hidden layers; see "
        ":class:`deltaprop.Periodic`. 0 for none.",
    )
    periodic_columns: Sequence[int] | None = parameter(
        None, "array-like of int or None", [None, "array-like"],
        "Columns of X that get periodic features; None for all of them.",
    )
    ema_decay: float = parameter(
        0.0, "float in [0, 1)", [FRACTION],
        "If not 0, the decay per step of an exponential moving average of the weights, which takes "
        "their place in early stopping and in the result; see :func:`deltaprop.fit`. 0.99 to "
        "0.999 are usual.",
    )
    init: str = parameter(
        "sklearn", "str", [StrOptions(set(initializers.NAMES))],
        f"Distribution of the initial weights: {_listed(initializers.NAMES)}.",
    )
    scoring: str | Callable[..., float] | None = parameter(
        None, "str, callable or None", [None, str, callable],
        "What early stopping maximizes on the validation data: a scikit-learn scorer, or its "
        'name; "loss" for the negative validation loss; None for the accuracy of a classifier and '
        "R² of a regressor.",
    )
    callbacks: Sequence[Callback] | None = parameter(
        None, "list of callables or None", [None, list, tuple],
        "Functions that are called with a ``deltaprop.training.history.Epoch`` after each epoch. "
        "Training stops if one of them returns True. scikit-learn's own callbacks are set with "
        "``set_callbacks``.",
    )
    engine: str | Xla = parameter(
        "auto", "str or Xla", [StrOptions(set(engines.NAMES)), Xla],
        f"Implementation that computes the training steps: {_listed(engines.NAMES)}, or a "
        ":class:`deltaprop.Xla`. See :func:`deltaprop.fit`.",
    )
    n_threads: int | None = parameter(
        None, "int >= 1 or None", [None, COUNT],
        "Largest number of threads that share a step of the fused engine. None uses all cores, or "
        "the CPU quota, ``OMP_NUM_THREADS`` or the limit of ``threadpool_limits`` if one of them "
        "is smaller, or one thread inside a parallel job of joblib.",
    )
    reproducible: bool = parameter(
        False, "bool", ["boolean"],
        "Whether the fused engine gives bitwise identical results for any number of threads.",
    )
    precision: str | None = parameter(
        None, 'None or "bfloat16"', [None, StrOptions({"bfloat16"})],
        "Dtype of the factors of matrix products in the fused engine. None is the dtype of the "
        'network. "bfloat16" is faster for wide layers, but less precise; it needs X in float32 '
        "and a processor with AVX512_BF16 instructions. See :func:`deltaprop.fit`.",
    )
    record: int | Record | None = parameter(
        None, "int >= 1, Record or None", [None, COUNT, Record],
        "Number of steps after which the signals of the network are recorded in ``records_``; see "
        ":class:`deltaprop.Record`.",
    )
    checkpoint: str | PathLike[str] | Checkpoint | None = parameter(
        None, "str, Path, Checkpoint or None", [None, str, PathLike, Checkpoint],
        "Folder in which ``fit`` saves the state of training, and from which it resumes; see "
        ":class:`deltaprop.Checkpoint`. Each fit needs a separate folder. ``partial_fit`` does "
        "not use it.",
    )
    privacy: Privacy | None = parameter(
        None, "Privacy or None", [None, Privacy],
        "Limits what the fitted weights reveal about any row, by clipping and noise; see "
        ":class:`deltaprop.Privacy`.",
    )
    validation_split: Any = parameter(
        None, '"last", splitter, iterable or None', [None, StrOptions({"last"}), "cv_object"],
        "Which rows early stopping holds out. None holds out random ones, or whole groups if "
        '``fit`` is given `groups`. "last" holds out the last `validation_fraction` of the rows, '
        "which are the latest if they are in the order of time. A splitter of scikit-learn, such "
        "as ``GroupShuffleSplit``, or an iterable of pairs of row numbers says by its first pair "
        "which rows are trained on and which are held out.",
    )
    freeze: Sequence[int] | None = parameter(
        None, "list of int or None", [None, "array-like"],
        "Layers whose weights and biases training does not change: 0 is the first. It makes sense "
        "when training continues, with `warm_start`, ``partial_fit`` or ``fine_tuned``.",
    )
    monotonic_cst: Any = parameter(
        None, "array-like of int, dict or None", [None, dict, "array-like"],
        "For each column, 1 if predictions must not fall when it rises, -1 if they must not rise, "
        'or 0; or a dict such as ``{"age": 1}`` of the columns that are constrained. It needs a '
        "first-order solver and activations that never fall, such as \"tanh\". Predictions are "
        "numbers, or the probability of the second of two classes, of a label, or with "
        'loss="ordinal" that of larger classes.',
    )
    transform_layer: int = parameter(
        -1, "int", [Integral],
        "The hidden layer whose units ``transform`` returns: 0 is the first, -1 the last.",
    )


@dataclass(eq=False, repr=False, kw_only=True)
class _ClassifierOnly:
    """The parameters of the classifier alone."""

    loss: str | Loss = parameter(
        "log_loss", "str or Loss", [StrOptions(set(CLASSIFIER_LOSSES)), Loss],
        f"{_listed(CLASSIFIER_LOSSES)}, or an object such as "
        "``deltaprop.losses.CrossEntropy(label_smoothing=0.1)`` or a custom loss. "
        '"log_loss" is the binary or the categorical cross-entropy, depending on the target. '
        '"ordinal" is for classes that are numbers with an order, such as grades: the network '
        "predicts for each but the largest of them the probability that y is larger.",
    )
    class_weight: Mapping[Any, float] | str | None = parameter(
        None, 'dict, "balanced" or None', [None, dict, StrOptions({"balanced"})],
        "Weights of the classes, which multiply the sample weights as in scikit-learn's other "
        "classifiers.",
    )


@dataclass(eq=False, repr=False)
class _RegressorOnly:
    """The parameter of the regressor whose meaning differs from the classifier's."""

    loss: str | Loss = parameter(
        "squared_error", "str or Loss", [StrOptions(set(REGRESSOR_LOSSES)), Loss],
        f"{_listed(REGRESSOR_LOSSES)}, or an object such as "
        "``deltaprop.losses.Quantile((0.1, 0.5, 0.9))`` or a custom loss. "
        '"squared_error" is half the squared error. "poisson", "gamma" and "tweedie" are half '
        'their deviances, with an exponential output. "gaussian_nll" predicts a mean and a '
        "variance for each target.",
    )


@dataclass(eq=False, repr=False)
class ClassifierParameters(OwnParameters, _ClassifierOnly, SklearnParameters):
    """All parameters of ``MLPClassifier``."""


@dataclass(eq=False, repr=False)
class RegressorParameters(OwnParameters, SklearnParameters, _RegressorOnly):
    """All parameters of ``MLPRegressor``."""


# ---------------------------------------------------------------- the tabular estimators


@dataclass(eq=False, repr=False)
class TabularParameters:
    """The network and how it is trained.

    Parameters that are declared without :func:`parameter` have the types and descriptions of those
    of the MLP estimators.
    """

    hidden_layer_sizes: int | str | Sequence[int] | np.ndarray = parameter(
        AUTO, 'int, sequence of int or "auto"', [StrOptions({AUTO}), COUNT, "array-like"],
        "Number of units of each hidden layer. A single int makes one layer.",
    )
    activation: str | Activation | Sequence[str | Activation] = "silu"

    _: KW_ONLY

    preset: str = parameter(
        "default", '{"fast", "default", "best"}', [StrOptions({"fast", "default", "best"})],
        'What parameters that are "auto" mean: "fast" trains one network, "default" an ensemble of '
        'networks on the folds of a cross-validation, and "best" three such ensembles of wider '
        "networks.",
    )
    time_limit: float | None = parameter(
        None, "float > 0 or None", [None, POSITIVE],
        "Seconds that ``fit`` may take. Training stops in time, and its best weights are kept.",
    )
    cv: Any = parameter(
        AUTO, 'int, splitter, iterable or "auto"', ["cv_object", COUNT, StrOptions({AUTO})],
        "Folds of the cross-validation: a number, a splitter of scikit-learn, such as "
        "``TimeSeriesSplit``, or pairs of row numbers. Each fold trains one member, which "
        "early stopping validates on the rows that the fold holds out. 1 trains a single network.",
    )
    refit: bool = parameter(
        False, "bool", ["boolean"],
        "Whether to replace the members, after the cross-validation, by a single network that is "
        "trained on all rows, for as many epochs as their best ones on average. It is smaller and "
        "faster than the members together, and usually a little less accurate.",
    )
    n_bins: int | str = parameter(
        AUTO, 'int >= 0 or "auto"', [StrOptions({AUTO}), WHOLE],
        "Largest number of bins of the piecewise-linear encoding of a number; see "
        ":class:`deltaprop.tables.TableEncoder`. With `periodic`, there are none by default.",
    )
    numbers: str = parameter(
        "robust", '{"robust", "normal"}', [StrOptions({"robust", "normal"})],
        "Scale of numbers: robust, with outliers squashed, or that of a normal distribution with "
        "the same quantiles; see :class:`deltaprop.tables.TableEncoder`.",
    )
    loss: str | Loss
    solver: str | Solver = "adamw"
    alpha: float = 0.0
    weight_decay: float | str = parameter(
        AUTO, 'float >= 0 or "auto"', [StrOptions({AUTO}), NON_NEGATIVE],
        'Decoupled weight decay of the solvers "adamw" and "muon".',
    )
    weight_decay_schedule: str | Schedule = "constant"
    batch_size: int | str = parameter(
        AUTO, 'int >= 1 or "auto"', [StrOptions({AUTO}), COUNT],
        'Number of rows of a mini-batch; "auto" is a twentieth of the rows, between 16 and 256.',
    )
    learning_rate: str | Schedule = parameter(
        AUTO, 'str or Schedule', [StrOptions({AUTO, *schedules.NAMES}), Schedule],
        f'Schedule of the learning rate: "auto", {_listed(schedules.NAMES)}, or an object from '
        '``deltaprop.schedules``. "auto" is "constant", and "one_cycle" from 60,000 rows on.',
    )
    learning_rate_init: float | str = parameter(
        AUTO, 'float > 0 or "auto"', [StrOptions({AUTO}), POSITIVE],
        "Initial learning rate of the first-order solvers.",
    )
    input_scale: float | str = parameter(
        AUTO, 'float >= 0 or "auto"', [StrOptions({AUTO}), NON_NEGATIVE],
        'If not 0, the solvers "adam", "adamw" and "muon" optimize a factor of each input as well, '
        "with a learning rate that is larger by `input_scale`; see :class:`deltaprop.Adam`.",
    )
    periodic: int = parameter(
        0, "int >= 0", [WHOLE],
        "Number of periodic features of each number and part of a date: cosines of frequencies "
        "that are trained. They and the number are mapped to 4 units, before the hidden layers; "
        "see :class:`deltaprop.Periodic`. 0 for none.",
    )
    dropout: float | str | Sequence[float] = parameter(
        AUTO, 'float in [0, 1), list of float or "auto"',
        [StrOptions({AUTO}), FRACTION, "array-like"],
        "Probability with which a training step sets an output of a hidden layer to zero: one for "
        "all layers or one for each.",
    )
    dropout_schedule: str | Schedule = "constant"
    ema_decay: float | str = parameter(
        AUTO, 'float in [0, 1) or "auto"', [StrOptions({AUTO}), FRACTION],
        "Decay per step of the moving average of all weights and biases, which is validated and "
        "kept; 0 for none.",
    )
    max_iter: int | str = parameter(
        AUTO, 'int >= 1 or "auto"', [StrOptions({AUTO}), COUNT],
        'Maximum number of epochs, or of iterations of L-BFGS; "auto" is 200, and fewer from '
        "60,000 rows on.",
    )
    n_iter_no_change: float | str = parameter(
        AUTO, 'int >= 1, inf or "auto"', [StrOptions({AUTO}), COUNT, Options(Real, {np.inf})],
        "Number of epochs without an improvement of the validation loss after which training "
        "stops.",
    )
    validation_fraction: float = parameter(
        0.15, "float in [0, 1)", [FRACTION],
        "Fraction of the rows held out as validation data if there is no cross-validation.",
    )


@dataclass(eq=False, repr=False, kw_only=True)
class _TabularClassifierOnly:
    """The parameters of the tabular classifier alone."""

    class_weight: Mapping[Any, float] | str | None = None
    decision_threshold: float | str = parameter(
        AUTO, 'float in [0, 1], str or "auto"',
        [StrOptions({AUTO}), str, Interval(Real, 0, 1, closed="both")],
        "The probability above which the positive class, ``classes_[1]`` of two, is predicted; of "
        "several labels per row, the probability of each label. A string names the scorer of "
        'scikit-learn that the threshold maximizes on held-out rows, such as "f1" or '
        '"balanced_accuracy". "auto" is 0.5, or the threshold of the least `cost`.',
    )
    cost: Mapping[str, float] | Sequence[Sequence[float]] | np.ndarray | None = parameter(
        None, "dict, array-like of shape (n_classes, n_classes) or None",
        [None, dict, "array-like"],
        'What wrong decisions cost: ``{"false_positive": 1, "false_negative": 5}``, or a matrix '
        "whose entry (i, j) is the cost of predicting class j for a row of class i, in the order "
        "of ``classes_``. ``predict`` returns the class of the least expected cost.",
    )


@dataclass(eq=False, repr=False, kw_only=True)
class RunParameters:
    """How a fit is run and observed."""

    random_state: int | np.random.RandomState | None = None
    callbacks: Sequence[Callback] | None = None
    engine: str | Xla = "auto"
    record: int | Record | None = None
    checkpoint: str | PathLike[str] | Checkpoint | None = None
    privacy: Privacy | None = None
    monotonic_cst: Any = None
    transform_layer: int = -1


@dataclass(eq=False, repr=False, kw_only=True)
class TabularClassifierParameters(RunParameters, _TabularClassifierOnly, TabularParameters):
    """All parameters of ``TabularClassifier``."""

    loss: str | Loss = "log_loss"


@dataclass(eq=False, repr=False, kw_only=True)
class TabularRegressorParameters(RunParameters, TabularParameters):
    """All parameters of ``TabularRegressor``."""

    loss: str | Loss = "squared_error"
# fmt: on
