"""What classifier and regressor share: parameters, the fit, and the fitted attributes."""

from __future__ import annotations

import copy
import functools
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import fields, replace
from numbers import Integral, Real
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted, validate_data

from deltaprop import engines
from deltaprop.data.rows import Rows, TrainingRows
from deltaprop.data.streamed_rows import StreamedRows, refuse_with_stream
from deltaprop.data.streams.stream import Stream
from deltaprop.estimators._callbacks import SklearnTasks, print_epoch
from deltaprop.functions import activations, initializers
from deltaprop.functions.activations import Activation
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import NARROW, check_domain
from deltaprop.network import Dense, Network
from deltaprop.optim import schedules
from deltaprop.optim.privacy import Privacy
from deltaprop.optim.solvers import LBFGS, SGD, Adam, AdamW, FirstOrder, Solver
from deltaprop.optim.state import TrainingState
from deltaprop.training.callbacks import check_callbacks
from deltaprop.training.checkpoint import Checkpoint
from deltaprop.training.fitting import train
from deltaprop.training.history import History
from deltaprop.training.recording import Record
from deltaprop.training.settings import Settings
from deltaprop.training.stopping import Plateau
from deltaprop.training.validation import Validation

if TYPE_CHECKING:
    from jaxtyping import Float

KEPT = [np.float64, np.float32, *(name for name in NARROW if name != "bfloat16")]
FIRST_ORDER = ("sgd", "adam", "adamw")
M = TypeVar("M", bound=Callable[..., Any])
Task = Literal["learn", "same", "within"]


def diagram(estimator: BaseEstimator, net: Network | None) -> str:
    """scikit-learn's diagram of an estimator and, once it is fitted, the table of its layers."""
    from sklearn.utils import estimator_html_repr

    from deltaprop.explain.layers import layers_html

    return str(estimator_html_repr(estimator)) + ("" if net is None else layers_html(net))


def keeps_fit_on_failure(method: M) -> M:
    """A fit that raises leaves the estimator as it was."""

    @functools.wraps(method)
    def guarded(self: Any, *args: Any, **kwargs: Any) -> Any:
        before = self.__dict__.copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    return cast(M, guarded)


class BaseMLP(CallbackSupportMixin, BaseEstimator, ABC):
    """The estimators' common part. Use :class:`MLPClassifier` or :class:`MLPRegressor`."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "loss": [str, Loss],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(activations.NAMES)), Activation, "array-like"],
        "solver": [StrOptions({*FIRST_ORDER, "lbfgs"}), Solver],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions(set(schedules.NAMES)), schedules.Schedule],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "out_activation": [StrOptions({"auto", *activations.NAMES}), Activation],
        "dropout": [Interval(Real, 0, 1, closed="left"), "array-like"],
        "clip_norm": [None, Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "init": [StrOptions(set(initializers.NAMES))],
        "scoring": [None, str, callable],
        "callbacks": [None, list, tuple],
        "engine": [StrOptions(set(engines.NAMES)), engines.Xla],
        "n_threads": [None, Interval(Integral, 1, None, closed="left")],
        "reproducible": ["boolean"],
        "record": [None, Interval(Integral, 1, None, closed="left"), Record],
        "checkpoint": [None, str, PathLike, Checkpoint],
        "privacy": [None, Privacy],
    }

    loss: Any
    hidden_layer_sizes: Any
    activation: Any
    solver: Any
    alpha: float
    batch_size: int | str
    learning_rate: Any
    learning_rate_init: float
    power_t: float
    max_iter: int
    shuffle: bool
    random_state: Any
    tol: float
    verbose: Any
    warm_start: bool
    momentum: float
    nesterovs_momentum: bool
    early_stopping: bool
    validation_fraction: float
    beta_1: float
    beta_2: float
    epsilon: float
    n_iter_no_change: float
    max_fun: int
    out_activation: Any
    dropout: Any
    clip_norm: float | None
    weight_decay: float
    init: str
    scoring: Any
    callbacks: Any
    engine: str | engines.Xla
    n_threads: int | None
    reproducible: bool
    record: Any
    checkpoint: Any
    privacy: Privacy | None

    network_: Network
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _plateau: Plateau
    _progress: TrainingState

    # ------------------------------------------------------------ what differs

    @abstractmethod
    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task) -> Rows:
        """Check rows, and y against the task: learn it, meet it again, or stay within it."""

    @abstractmethod
    def _output_layer(self) -> tuple[Loss, int, str]:
        """The loss, the number of outputs and the name of the output's activation."""

    @abstractmethod
    def _default_score(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        """What ``scoring=None`` means, from the network's output; None for the loss."""

    @abstractmethod
    def _stream_target(self, rows: Stream, task: Task) -> tuple[Any, np.ndarray]:
        """What turns the target's values into y, and some y: enough to check."""

    @abstractmethod
    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        """What a scorer compares with, from y."""

    def _stratify(self, rows: Rows, n_held: int) -> np.ndarray | None:
        return None

    # ------------------------------------------------------------ fitting

    @keeps_fit_on_failure
    @with_callbacks
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        X_val: Any = None,
        y_val: Any = None,
        sample_weight_val: Any = None,
    ) -> Any:
        """Fit the model to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix (n_samples, n_features), or Stream
            A :func:`deltaprop.tables.stream` of rows that need not fit in memory holds its own
            target and weights.
        y : array-like (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of labels, or numbers.
        sample_weight : array-like (n_samples,), optional
            Non-negative, not all zero.
        X_val, y_val, sample_weight_val : array-like, optional
            Validation data of the user's own. Its loss and score are recorded after each epoch;
            with ``early_stopping=True`` the search stops on it and no rows of X are set aside.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            For a parameter or data out of range, or when the weights became non-finite. A model
            fitted before stays as it was.
        """
        if (X_val is None) != (y_val is None):
            raise ValueError("X_val and y_val must be given together; got only one of them.")
        return self._fit(X, y, sample_weight, (X_val, y_val, sample_weight_val), incremental=False)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any],
        incremental: bool,
    ) -> Any:  # fmt: skip
        self._validate_params()
        solver = self._solver()
        check_callbacks(self.callbacks)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "coefs_") or not (self.warm_start or incremental)
        known = not first and hasattr(self, "_plateau")  # False if the user has set coefs_
        task: Task = "within" if known and incremental else "same" if known else "learn"
        stopping = self.early_stopping and isinstance(solver, FirstOrder)
        self._check_privacy(validation[0], stopping)
        rows, y_seen = self._training_rows(X, y, sample_weight, reset=first, task=task)
        state = self._state(incremental, first)
        net = self._new_network(rows, state) if first else self._known_network(rows)
        net.encode(y_seen[:1])
        check_domain(net, y_seen)
        held = None
        if validation[0] is not None:
            held = self._checked(*validation, reset=False, task="within")
        elif stopping:
            rows, held = self._set_aside(net, rows, state)
        self._attach(net)
        if known:
            self._plateau = copy.copy(self._plateau)
        else:
            self._reset_curves(stopping)
        settings = self._settings(solver, incremental)
        history = self._run(rows, held, settings, state, stopping)
        self._record(history, len(rows), held is not None, stopping)
        unfinished = history.stop_reason == "max_epochs" and isinstance(solver, FirstOrder)
        if unfinished and not incremental:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )
        return self

    def _training_rows(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task
    ) -> tuple[TrainingRows, np.ndarray]:
        """The rows to train on, and values of y to check: all of them, or some of a stream's."""
        if not isinstance(X, Stream):
            rows = self._checked(X, y, sample_weight, reset=reset, task=task)
            return rows, rows.y
        refuse_with_stream(y=y, sample_weight=sample_weight)
        refuse_with_stream(class_weight=getattr(self, "class_weight", None))
        X.require_numbers()
        if X.encode_X is None:
            names = np.array(X.features, dtype=object)
            if reset:
                self.feature_names_in_ = names
            elif not np.array_equal(names, getattr(self, "feature_names_in_", names)):
                raise ValueError(
                    f"The stream's features are {', '.join(names)}, but the model was fitted to "
                    f"{', '.join(self.feature_names_in_)}."
                )
        if reset:
            self.n_features_in_ = X.shape[1]
        encode, y_seen = self._stream_target(X, task)
        return StreamedRows(X.encoded(None, encode)), y_seen

    def _check_privacy(self, X_val: Any, stopping: bool) -> None:
        """Raise ValueError if something besides the noisy gradient would reveal the rows."""
        if self.privacy is None:
            return
        if getattr(self, "class_weight", None) == "balanced":
            raise ValueError(
                "class_weight='balanced' is computed from the rows, which privacy is to protect. "
                "Give a dict of weights instead."
            )
        held = self.validation_fraction if stopping and X_val is None else X_val
        self.privacy.check_stopping(self._schedule(), held, stopping)

    def _state(self, incremental: bool, first: bool) -> TrainingState:
        """A new training state, or with partial_fit a copy of the last one."""
        last: TrainingState | None = getattr(self, "_progress", None)
        if incremental and last is not None:
            state = copy.deepcopy(last)  # a failed call must not change it
        elif not first and last is not None:  # the weights go on, and with them what they reveal
            state = TrainingState(mu_squared=last.mu_squared)
        else:
            state = TrainingState()
        state.rng = state.rng or check_random_state(self.random_state)
        return state

    def _settings(self, solver: Solver, incremental: bool) -> Settings:
        """The settings of a training run, from the parameters of the same name and others."""
        parameters = self.get_params(deep=False)
        shared = {f.name: parameters[f.name] for f in fields(Settings) if f.name in parameters}
        return Settings(
            **shared | {
                "solver": solver,
                "schedule": self._schedule(),
                "max_epochs": 1 if incremental else int(self.max_iter),
                "horizon": int(self.max_iter),
                "patience": self.n_iter_no_change,
                "seed": self.random_state,
                "callbacks": [*([print_epoch] if self.verbose else []), *(self.callbacks or [])],
                "checkpoint": None if incremental else self.checkpoint,
            }
        )  # fmt: skip

    def _run(
        self, rows: TrainingRows, held: Rows | None, settings: Settings, state: TrainingState,
        stopping: bool,
    ) -> History:  # fmt: skip
        tasks = None
        if getattr(self, "_skl_callbacks", None):
            tasks = SklearnTasks(self, rows, settings.max_epochs)
            settings = replace(settings, callbacks=(*settings.callbacks, tasks))
        validation = None
        if held is not None:
            validation = Validation(self._evaluator(held), stopping, self.scoring == "loss")
        history = train(
            self.network_, rows, settings, validation, state=state, plateau=self._plateau
        )
        if tasks:
            tasks.end()
        return history

    def _solver(self) -> Solver:
        if isinstance(self.solver, Solver):
            return self.solver
        rate = float(self.learning_rate_init)
        adam = {"beta_1": self.beta_1, "beta_2": self.beta_2, "epsilon": self.epsilon}
        if self.solver == "sgd":
            return SGD(rate, float(self.momentum), bool(self.nesterovs_momentum))
        if self.solver == "adam":
            return Adam(rate, **adam)
        if self.solver == "adamw":
            return AdamW(rate, **adam, weight_decay=self.weight_decay)
        return LBFGS(self.max_fun)

    def _schedule(self) -> schedules.Schedule:
        if self.learning_rate == "invscaling":
            return schedules.InverseScaling(float(self.power_t))
        return schedules.get(self.learning_rate)

    # ------------------------------------------------------------ the network

    def _new_network(self, rows: TrainingRows, state: TrainingState) -> Network:
        return self._network_for(rows.n_features, working_dtype(rows), state.rng)

    def _network_for(self, n_features: int, dtype: Any, rng: Any) -> Network:
        loss, n_outputs, out_activation = self._output_layer()
        out = out_activation if self.out_activation == "auto" else self.out_activation
        return Network(
            n_features,
            [*self._hidden_layers(), Dense(n_outputs, out)],
            loss=loss, l2=float(self.alpha), reduction="sklearn", dtype=dtype,
            init=self.init, seed=rng,
        )  # fmt: skip

    def _hidden_layers(self) -> list[Dense]:
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist()
        if any(not isinstance(size, int) or size <= 0 for size in sizes):
            raise ValueError(f"hidden_layer_sizes must be > 0 integers, got {sizes}.")
        functions = _one_a_layer("activation", self.activation, len(sizes), (str, Activation))
        dropout = _one_a_layer("dropout", self.dropout, len(sizes), Real)
        return [Dense(size, f, p) for size, f, p in zip(sizes, functions, dropout, strict=True)]

    def _known_network(self, rows: TrainingRows) -> Network:
        """A network with the settings of the current parameters and the fitted weights."""
        sizes = [rows.n_features, *(b.shape[0] for b in self.intercepts_)]
        dtype = self.network_.dtype if hasattr(self, "network_") else working_dtype(rows)
        net = self._network_for(rows.n_features, dtype, np.random.RandomState(0))
        if [net.n_features, *(layer.units for layer in net.layers)] != sizes:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} does not fit the fitted layers "
                f"{sizes}. Keep the sizes to continue training (warm_start, partial_fit), or fit "
                "with warm_start=False to start over."
            )
        for l in range(net.n_layers):
            net.W[l][...], net.b[l][...] = self.coefs_[l], self.intercepts_[l]
        return net

    def _attributes_of(self, net: Network) -> dict[str, Any]:
        return {
            "network_": net,
            "coefs_": list(net.W),
            "intercepts_": list(net.b),
            "n_layers_": net.n_layers + 1,
            "n_outputs_": net.n_outputs,
            "out_activation_": net.layers[-1].activation.name,
        }

    def _html_repr(self) -> str:
        return diagram(self, getattr(self, "network_", None))

    def _attach(self, net: Network) -> None:
        """Make `net` the fitted network: its views are `coefs_` and `intercepts_`."""
        self.__dict__.update(self._attributes_of(net))

    def _output(self, X: Any) -> Float[np.ndarray, "N H"]:
        """The network's output for rows of X, checked."""
        if not hasattr(self, "network_"):  # quicker to ask than scikit-learn's question
            check_is_fitted(self)
        net = self._network()
        z = None if hasattr(self, "feature_names_in_") else net.predictor.few(X)
        if z is not None:
            return z
        X = validate_data(self, X, accept_sparse=["csr", "csc"], dtype=KEPT, reset=False)
        return net.predictor(X)

    def _network(self) -> Network:
        """The fitted network, after taking over arrays that the user put into `coefs_`."""
        net = self.network_
        for own, given in ((net.W, self.coefs_), (net.b, self.intercepts_)):
            for l in range(len(own)):
                if given[l] is not own[l]:
                    own[l][...] = given[l]
                    given[l] = own[l]
        return net

    # ------------------------------------------------------------ validation

    def _set_aside(
        self, net: Network, rows: TrainingRows, state: TrainingState
    ) -> tuple[TrainingRows, Rows]:
        """The rows to train on, and the rows on which training stops."""
        assert state.rng is not None
        if isinstance(rows, Rows):
            n_held = int(np.ceil(self.validation_fraction * len(rows)))
            kept, held = rows.split(
                net, self.validation_fraction, state.rng, self._stratify(rows, n_held)
            )
            if len(held) < 2:
                raise ValueError(
                    "The validation set is too small. Increase 'validation_fraction' or the size "
                    "of your dataset."
                )
            return kept, held
        streamed, held = rows.split(net, self.validation_fraction, state.rng)
        return streamed, replace(held, labels=self._labels_of(held.y))

    def _evaluator(self, held: Rows) -> Callable[[], tuple[float, float]]:
        view = self._view()
        scorer = None
        if self.scoring not in (None, "loss"):
            from sklearn.metrics import check_scoring

            scorer = check_scoring(view, self.scoring)
        weights = {} if held.w is None else {"sample_weight": held.w}

        def evaluate() -> tuple[float, float]:
            net = self.network_
            if not np.isfinite(net.theta).all():
                return float("nan"), float("nan")
            loss = net.mean_loss(held.X, held.y, held.w)
            if scorer is not None:
                return loss, float(scorer(view, held.X, held.labels, **weights))
            z = net.predictor(held.X)
            if not np.isfinite(z).all():
                return loss, float("nan")
            score = self._default_score(z, held)
            return loss, -loss if score is None else score

        return evaluate

    def _view(self) -> Any:
        """This estimator without feature names: scorers see arrays that were checked already."""
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__)
        view.__dict__.pop("feature_names_in_", None)
        return view

    # ------------------------------------------------------------ fitted attributes

    def _reset_curves(self, stopping: bool) -> None:
        self.t_ = 0
        self.loss_curve_: list[float] = []
        self.validation_scores_: list[float] | None = [] if stopping else None
        self.validation_loss_curve_: list[float] | None = None
        self._plateau = Plateau(self.tol, self.n_iter_no_change)

    def _record(self, history: History, N: int, validated: bool, stopping: bool) -> None:
        self._progress = history.progress
        self._progress.noise_seed = None  # with it the noise could be removed from a saved model
        self.n_iter_ = history.n_epochs
        self.records_ = history.records
        self._signal = history.signal
        self.t_ += N * history.n_epochs
        self.loss_curve_ = [*self.loss_curve_, *history.loss_curve]
        self.loss_ = self.loss_curve_[-1] if self.loss_curve_ else float("nan")
        reasons = {"max_epochs": "max_iter"}
        self.stop_reason_ = reasons.get(history.stop_reason, history.stop_reason)
        if validated:
            self.validation_scores_ = [
                *(self.validation_scores_ or []), *(history.validation_scores or [])
            ]  # fmt: skip
            self.validation_loss_curve_ = [
                *(self.validation_loss_curve_ or []), *(history.validation_loss_curve or [])
            ]  # fmt: skip
        self.best_loss_ = None if stopping else min(self.loss_curve_, default=float("inf"))
        self.best_validation_score_ = None
        if validated:
            best = max(self.validation_scores_ or [float("-inf")])
            self.best_validation_score_ = self._plateau.best if stopping else best

    def privacy_epsilon(self, delta: float) -> float:
        """ε of the (ε, δ)-differential privacy of the fitted weights.

        Every epoch of ``fit`` that was begun counts, and those of all earlier calls from whose
        weights it went on (``partial_fit``, ``warm_start``). The result is infinite if one of them
        ran without `privacy`. If training could have stopped early because of what it saw, state
        ``privacy.epsilon(delta, max_iter)`` instead.

        Parameters
        ----------
        delta : float
            δ in (0, 1), well below one over the number of rows.

        Raises
        ------
        ValueError
            If `delta` is out of range.
        NotFittedError
            If the estimator has not been fitted.

        Examples
        --------
        >>> import deltaprop as dp
        >>> model = dp.MLPRegressor(privacy=dp.Privacy(noise=4.0), max_iter=20, random_state=0)
        >>> model.fit([[0.0], [1.0]], [1.0, 2.0]).privacy_epsilon(delta=1e-5)
        4.983...
        """
        check_is_fitted(self)
        return History(progress=self._progress).epsilon(delta)

    # ------------------------------------------------------------ pickling

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:
            self._network()
            del state["coefs_"], state["intercepts_"]  # views, which would become copies
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if "network_" in state:
            self._attach(self.network_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def _has_partial_fit(self) -> bool:
        if self.solver == "lbfgs" or isinstance(self.solver, LBFGS):
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not "
                "stochastic."
            )
        return True


def working_dtype(data: Any) -> np.dtype:
    """float32 for float32, else float64, as in scikit-learn."""
    return np.dtype("float32" if data.dtype == np.float32 else "float64")


def by_rows(X: Any) -> Any:
    """X with fast access to its rows: CSC becomes CSR."""
    return X.tocsr() if hasattr(X, "tocsr") else X


def _one_a_layer(name: str, value: Any, n_layers: int, single: Any) -> list[Any]:
    """`value` for every hidden layer: one for all, or a sequence with one for each."""
    if isinstance(value, single):
        return [value] * n_layers
    values = list(value)
    if len(values) != n_layers:
        raise ValueError(
            f"{name} has {len(values)} entries, but hidden_layer_sizes has {n_layers} layer(s). "
            f"Give one {name} for all of them or one for each."
        )
    return values
