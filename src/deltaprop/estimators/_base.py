"""The common part of classifier and regressor: the fit and the fitted attributes."""

from __future__ import annotations

import copy
import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self, TypeVar, cast

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import validate_parameter_constraints
from sklearn.utils.validation import check_is_fitted, validate_data

from deltaprop.data.rows import Rows, RowSource, TrainingRows
from deltaprop.engines.prediction import HeldOut, Predictor
from deltaprop.errors import InputError, raised_as_input_error, warn
from deltaprop.estimators._callbacks import SklearnTasks, print_epoch
from deltaprop.estimators._saving import (
    EstimatorState,
    require_prediction,
    restore_attributes,
    state_of,
)
from deltaprop.estimators.continuing import fits, take_over
from deltaprop.estimators.glass_box import GlassBox
from deltaprop.estimators.hidden import HiddenUnits
from deltaprop.estimators.holding_out import held_out
from deltaprop.estimators.monotonic import Constrained, require_monotonic, signs_of
from deltaprop.estimators.parameters import OwnParameters, SklearnParameters
from deltaprop.estimators.plain import INPUT_DTYPES, is_plain, missing_targets
from deltaprop.functions.activations import Activation
from deltaprop.functions.checks import is_int
from deltaprop.functions.losses import Loss
from deltaprop.model.inputs import check_domain
from deltaprop.network import Dense, Network, Periodic
from deltaprop.optim import schedules, solvers
from deltaprop.optim.monotonic import keep, start
from deltaprop.optim.solvers import FirstOrder, Solver
from deltaprop.optim.state import TrainingState
from deltaprop.optim.state_checks import require_sound
from deltaprop.storage.codec import ModelFileError
from deltaprop.training.callbacks import check_callbacks
from deltaprop.training.history import History
from deltaprop.training.settings import Settings
from deltaprop.training.stopping import Plateau

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.streams.stream import Stream
    from deltaprop.functions.arrays import Array

SKLEARN_NAMES = {"learning_rate": "learning_rate_init", "nesterov": "nesterovs_momentum"}
"""The settings of solvers that scikit-learn calls by other names."""

UNITS_PER_INPUT, N_PERIODIC = 4, 2  # of the layers of periodic features
PERIODIC_RATES = {"W_0": 0.5, "b_0": 0.1, "alpha_0": 0.1}
"""Learning rates of frequencies, phases and mixtures, relative to the others: as RealMLP's."""

UNFINISHED = (
    "Stochastic Optimizer: Maximum iterations ({}) reached and the optimization hasn't converged "
    "yet."
)

M = TypeVar("M", bound=Callable[..., Any])
Task = Literal["learn", "same", "within"]


def diagram(estimator: BaseEstimator, net: Network | None) -> str:
    """scikit-learn's HTML diagram of an estimator, and the table of its layers if it is fitted."""
    from sklearn.utils import estimator_html_repr

    from deltaprop.explain.layers import layers_html

    return str(estimator_html_repr(estimator)) + ("" if net is None else layers_html(net))


def keeps_fit_on_failure(method: M) -> M:
    """A decorator: if the method raises, the estimator's attributes are restored."""

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


class BaseMLP(
    GlassBox,
    HiddenUnits,
    OwnParameters,
    SklearnParameters,
    CallbackSupportMixin,
    BaseEstimator,
    ABC,
):
    """The common part of :class:`MLPClassifier` and :class:`MLPRegressor`."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    loss: str | Loss

    # Fitted attributes. They are not parameters, because this class is not a dataclass.
    network_: Network
    coefs_: list[np.ndarray]
    intercepts_: list[np.ndarray]
    _plateau: Plateau
    _progress: TrainingState

    # ------------------------------------------------------------ parameters

    @classmethod
    def _get_param_names(cls) -> list[str]:
        return _parameter_names(cls)

    def _validate_params(self) -> None:
        """Validate the parameters that have been changed: their defaults are valid."""
        parameters = self.get_params(deep=False)
        defaults = {f.name: f.default for f in fields(self)}
        validate_parameter_constraints(
            self._parameter_constraints,
            {k: v for k, v in parameters.items() if k not in defaults or v is not defaults[k]},
            type(self).__name__,
        )

    # ------------------------------------------------------------ differs between the subclasses

    @abstractmethod
    def _checked(self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task) -> Rows:
        """Validate the rows.

        With task "learn", the classes or the number of columns of the target are learned from y.
        With "same", y must have the same ones, and with "within", y must not have others.
        """

    @abstractmethod
    def _output_layer(self) -> tuple[Loss, int, str]:
        """The loss, the number of outputs and the name of the output layer's activation."""

    @abstractmethod
    def _default_score(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        """The score with ``scoring=None``, or None if it is the negative loss."""

    @abstractmethod
    def _stream_target(self, rows: Stream, task: Task) -> tuple[Any, np.ndarray]:
        """A function that encodes target values as y, and some values of y for validation."""

    @abstractmethod
    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        """The labels that a scorer compares predictions with, decoded from y."""

    def _forget_target(self) -> None:
        """Remove what an earlier fit learned about the target."""

    def _stratify(self, rows: Rows, n_held: int) -> np.ndarray | None:
        """The labels by which a random split is stratified, or None if it is not."""
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
        groups: Any = None,
    ) -> Any:
        """Fit the model to X and y.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features), or Stream
            Features. A :func:`deltaprop.tables.stream`, whose rows need not fit in memory, contains
            the target and the sample weights as well.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Class labels, an indicator matrix of labels, or numbers. Of several labels or numbers
            per row, those that are NaN are missing: they do not contribute to the loss.
        sample_weight : array-like of shape (n_samples,), optional
            Non-negative weights of the rows, not all zero.
        X_val, y_val, sample_weight_val : array-like, optional
            Validation data, whose loss and score are recorded after each epoch. With
            ``early_stopping=True`` they decide when training stops, and no rows of X are held out.
        groups : array-like of shape (n_samples,), optional
            With ``early_stopping=True``, rows of one group, such as those of one person, are held
            out together. `validation_split` can name another way to hold them out.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter or the data is invalid, or if the weights become non-finite. An estimator
            that was fitted before keeps its previous fit.
        """
        if (X_val is None) != (y_val is None):
            raise InputError("X_val and y_val must be given together; got only one of them.")
        if not self.warm_start:
            self._forget_target()
        validation = X_val, y_val, sample_weight_val
        return self._fit(X, y, sample_weight, validation, incremental=False, groups=groups)

    def _fit(
        self, X: Any, y: Any, sample_weight: Any, validation: tuple[Any, Any, Any],
        incremental: bool, groups: Any = None,
    ) -> Any:  # fmt: skip
        self._validate_params()
        solver = self._solver()
        check_callbacks(self.callbacks)
        if incremental and self.early_stopping:
            raise InputError("partial_fit does not support early_stopping=True")
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
            rows, held = self._set_aside(net, rows, state, groups)
        self._attach(net)
        if known:
            self._plateau = copy.copy(self._plateau)
        else:
            self._reset_curves(stopping)
        self._train(rows, held, self._settings(solver, incremental), state, stopping)
        if self._is_unfinished() and not incremental:
            warn(UNFINISHED.format(self.max_iter), ConvergenceWarning)
        return self

    def fine_tuned(self, X: Any, y: Any, sample_weight: Any = None, **parameters: Any) -> Self:
        """A copy of this fitted model whose training continues on other rows.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The rows to train on.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            Their targets. Not all of the known classes need to occur; new ones are an error.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.
        **parameters
            What differs from the parameters of this model: often ``freeze``, a smaller
            ``learning_rate_init`` and ``max_iter``. The layers must remain. `checkpoint` and
            `record` belong to one call of ``fit``, so they are None unless they are given here.

        Returns
        -------
        MLPClassifier or MLPRegressor
            The copy; this model is unchanged.

        Raises
        ------
        ValueError
            As in ``fit``.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.MLPRegressor(hidden_layer_sizes=4, max_iter=5, random_state=0).fit(X, y)
        >>> other = model.fine_tuned(X, [2 * value for value in y], freeze=[0])
        >>> bool((other.coefs_[0] == model.coefs_[0]).all())
        True
        >>> bool((other.coefs_[1] == model.coefs_[1]).all())
        False
        """
        check_is_fitted(self)
        twin = copy.deepcopy(self)
        twin.set_params(**{"checkpoint": None, "record": None, **parameters}, warm_start=True)
        twin.__dict__.pop("_plateau", None)  # early stopping starts anew
        twin.fit(X, y, sample_weight)
        twin.warm_start = self.warm_start
        return twin

    def checked_rows(self, X: Any, y: Any, sample_weight: Any) -> Rows:
        """Learn the kind of the target from all rows, for `fit_part` of copies of this estimator.

        Raises
        ------
        ValueError
            As in `fit`.
        """
        self._validate_params()
        check_callbacks(self.callbacks)
        self._forget_target()
        rows = self._checked(X, y, sample_weight, reset=True, task="learn")
        net = self._new_network(rows, self._state(incremental=False, first=True))
        net.encode(rows.y[:1])
        check_domain(net, rows.y)
        return rows

    def fit_part(self, rows: Rows, held: Rows | None) -> None:
        """Fit to some of the rows that `checked_rows` returned, and validate on others of them."""
        solver = self._solver()
        stopping = self.early_stopping and isinstance(solver, FirstOrder)
        state = self._state(incremental=False, first=True)
        self._attach(self._new_network(rows, state))
        self._reset_curves(stopping)
        self._train(rows, held, self._settings(solver, incremental=False), state, stopping)

    def _train(
        self, rows: TrainingRows, held: Rows | None, settings: Settings, state: TrainingState,
        stopping: bool,
    ) -> None:  # fmt: skip
        history = self._run(rows, held, settings, state, stopping)
        if isinstance(settings.solver, Constrained):  # rounding may have left the bounds
            keep(self.network_.theta, self.network_.layout, settings.solver.signs)
        self._record(history, len(rows), held is not None, stopping)

    def _is_unfinished(self) -> bool:
        """Whether training ended because of the maximum number of epochs."""
        return self.stop_reason_ == "max_iter" and isinstance(self._solver(), FirstOrder)

    def _training_rows(
        self, X: Any, y: Any, sample_weight: Any, *, reset: bool, task: Task
    ) -> tuple[TrainingRows, np.ndarray]:
        """The rows to train on, and values of y to check: all of them, or some of a stream's."""
        if not isinstance(X, RowSource):
            rows = self._checked(X, y, sample_weight, reset=reset, task=task)
            return rows, rows.y
        from deltaprop.data.streamed_rows import StreamedRows, refuse_with_stream
        from deltaprop.data.streams.stream import Stream

        assert isinstance(X, Stream)
        refuse_with_stream(y=y, sample_weight=sample_weight)
        refuse_with_stream(class_weight=getattr(self, "class_weight", None))
        X.require_numbers()
        if X.encode_X is None:
            names = np.array(X.features, dtype=object)
            if reset:
                self.feature_names_in_ = names
            elif not np.array_equal(names, getattr(self, "feature_names_in_", names)):
                raise InputError(
                    f"The stream's features are {', '.join(names)}, but the model was fitted to "
                    f"{', '.join(self.feature_names_in_)}."
                )
        if reset:
            self.n_features_in_ = X.shape[1]
        encode, y_seen = self._stream_target(X, task)
        return StreamedRows(X.encoded(None, encode)), y_seen

    def _check_privacy(self, X_val: Any, stopping: bool) -> None:
        """Raise ValueError if training depends on the rows other than by the noisy gradient."""
        if self.privacy is None:
            return
        if getattr(self, "class_weight", None) == "balanced":
            raise InputError(
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
        elif (
            not first and last is not None
        ):  # the weights are kept, and so is what they reveal of earlier rows
            state = TrainingState(mu_squared=last.mu_squared)
        else:
            state = TrainingState()
        state.rng = state.rng or check_random_state(self.random_state)
        return state

    def _settings(self, solver: Solver, incremental: bool) -> Settings:
        """The settings of a training run, from the parameters of the estimator."""
        parameters = vars(self)  # get_params would read the signature again, which takes long
        shared = {f.name: parameters[f.name] for f in fields(Settings) if f.name in parameters}
        return Settings(
            **shared | {
                "solver": self._constrained(solver),
                "schedule": self._schedule(),
                "dropout_schedule": schedules.get(self.dropout_schedule),
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
        from deltaprop.training.fitting import train
        from deltaprop.training.validation import Validation

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
        """The solver. If it is given by name, its settings are parameters of this estimator."""
        if isinstance(self.solver, Solver):
            return self._freezing(self.solver)
        solver, parameters = solvers.BY_NAME[self.solver], vars(self)
        settings = {}
        for setting in fields(solver):
            name = SKLEARN_NAMES.get(setting.name, setting.name)
            if name in parameters:
                settings[setting.name] = _as_setting(setting.default, parameters[name])
        if self.periodic and issubclass(solver, FirstOrder):
            settings["rate_factors"] = dict(PERIODIC_RATES)
            if self._scales_inputs():  # of what follows the periodic features
                settings["rate_factors"]["r"] = settings.pop("input_scale")
        return self._freezing(solver(**settings))

    def _freezing(self, solver: Solver) -> Solver:
        """The solver, with steps of length 0 for the parameters of frozen layers."""
        frozen = getattr(self, "freeze", None)  # earlier versions did not have it
        if frozen is None or len(frozen) == 0:
            return solver
        if not isinstance(solver, FirstOrder):
            raise InputError(f"freeze needs a first-order solver, got {self.solver!r}.")
        n = len(np.atleast_1d(np.asarray(self.hidden_layer_sizes))) + 1
        n += N_PERIODIC if self.periodic else 0
        wrong = [l for l in frozen if not is_int(l, 0) or l >= n]
        if wrong:
            raise InputError(
                f"freeze must name layers by ints from 0 to {n - 1}; got {wrong[0]!r}."
            )
        factors = {f"{name}_{l}": 0.0 for l in frozen for name in ("W", "b")}
        if self.periodic and 0 in frozen:
            factors["alpha_0"] = 0.0
        if self.periodic and N_PERIODIC in frozen and self._scales_inputs():
            factors[f"r_{N_PERIODIC}"] = 0.0
        return replace(solver, rate_factors={**(solver.rate_factors or {}), **factors})

    def _constrained(self, solver: Solver) -> Solver:
        """The solver, with steps that keep the network monotonic as `monotonic_cst` says."""
        signs = self._signs()
        if signs is None:
            return solver
        if not isinstance(solver, FirstOrder):
            raise InputError(f"monotonic_cst needs a first-order solver, got {self.solver!r}.")
        require_monotonic(self.network_)
        return Constrained.of(solver, signs)

    def _signs(self) -> tuple[int, ...] | None:
        given = getattr(self, "monotonic_cst", None)  # earlier versions did not have it
        names = getattr(self, "feature_names_in_", None)
        return signs_of(given, self.n_features_in_, None if names is None else list(names))

    def _schedule(self) -> schedules.Schedule:
        if self.learning_rate == "invscaling":
            return schedules.InverseScaling(float(self.power_t))
        return schedules.get(self.learning_rate)

    # ------------------------------------------------------------ the network

    def _new_network(self, rows: TrainingRows, state: TrainingState) -> Network:
        net = self._network_for(rows.n_features, working_dtype(rows), state.rng)
        signs = self._signs()
        if signs is not None:
            start(net.theta, net.layout, signs)
        return net

    def _network_for(self, n_features: int, dtype: Any, rng: Any) -> Network:
        loss, n_outputs, out_activation = self._output_layer()
        out = out_activation if self.out_activation == "auto" else self.out_activation
        return Network(
            n_features,
            [*self._first_layers(n_features), *self._hidden_layers(), Dense(n_outputs, out)],
            loss=loss, l2=float(self.alpha), reduction="sklearn", dtype=dtype,
            init=self.init, seed=rng,
        )  # fmt: skip

    def _hidden_layers(self) -> list[Dense]:
        sizes = np.atleast_1d(np.asarray(self.hidden_layer_sizes)).tolist()
        if any(not isinstance(size, int) or size <= 0 for size in sizes):
            raise InputError(f"hidden_layer_sizes must be > 0 integers, got {sizes}.")
        functions = _per_layer("activation", self.activation, len(sizes), (str, Activation))
        dropout = _per_layer("dropout", self.dropout, len(sizes), Real)
        scaled = self.periodic > 0 and self._scales_inputs()  # after the periodic features
        return [
            Dense(size, f, p, input_scale=scaled and l == 0)
            for l, (size, f, p) in enumerate(zip(sizes, functions, dropout, strict=True))
        ]

    def _first_layers(self, n_features: int) -> list[Dense]:
        """Periodic features of the inputs, which are mapped to a few units of each input."""
        if not self.periodic:
            if self.periodic_columns is not None and len(self.periodic_columns):
                raise InputError(
                    f"periodic_columns={self.periodic_columns!r} has no effect with periodic=0. "
                    "Set periodic to the number of features of each column, such as 16."
                )
            return []
        first = Periodic(n_features, self.periodic_columns, self.periodic)
        return [first, first.mapped(UNITS_PER_INPUT)]

    def _scales_inputs(self) -> bool:
        return bool(self.input_scale) and self.solver in ("adam", "adamw", "muon")

    def _known_network(self, rows: TrainingRows) -> Network:
        """A network with the settings of the current parameters and the fitted weights."""
        sizes = [rows.n_features, *(b.shape[0] for b in self.intercepts_)]
        dtype = self.network_.dtype if hasattr(self, "network_") else working_dtype(rows)
        net = self._network_for(rows.n_features, dtype, np.random.RandomState(0))
        old = getattr(self, "network_", None)  # None if the user has set coefs_
        same = [net.n_features, *(layer.units for layer in net.layers)] == sizes
        if not same or not (old is None or fits(net, old)):
            given = f"hidden_layer_sizes={self.hidden_layer_sizes!r}"
            if self.periodic:
                given += f", periodic={self.periodic!r}, periodic_columns={self.periodic_columns!r}"
            raise InputError(
                f"{given} does not fit the fitted layers {sizes}. Keep the layers to continue "
                "training (warm_start, partial_fit), or fit with warm_start=False to start over."
            )
        take_over(net, self.coefs_, self.intercepts_, old)
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

    # ------------------------------------------------------------ the protocol `Fitted`

    def fitted_mlp(self) -> BaseMLP:
        check_is_fitted(self)
        return self

    def fitted_network(self) -> Network:
        check_is_fitted(self)
        return self._network()

    def encode_rows(self, X: Any) -> Any:
        check_is_fitted(self)
        return by_rows(self._validated(X))

    def feature_names(self) -> list[str] | None:
        names = getattr(self, "feature_names_in_", None)
        return None if names is None else [str(name) for name in names]

    def column_kinds(self) -> dict[str, str]:
        return {}

    def target_name(self) -> str | None:
        return None

    def fit_history(self) -> History:
        return History(
            loss_curve=self.loss_curve_,
            validation_loss_curve=self.validation_loss_curve_,
            validation_scores=self.validation_scores_,
            n_epochs=self.n_iter_,
            stop_reason=self.stop_reason_.replace("max_iter", "max_epochs"),
            best_epoch=self.best_epoch_,
            progress=self._progress,
            records=getattr(self, "records_", None) or [],
        )

    def _html_repr(self) -> str:
        return diagram(self, getattr(self, "network_", None))

    def _attach(self, net: Network) -> None:
        """Set the fitted network. `coefs_` and `intercepts_` are views of its parameters."""
        self.__dict__.update(self._attributes_of(net))

    def _output(self, X: Any) -> Float[np.ndarray, "N H"]:
        """The network's output for the rows of X, which are validated."""
        if not hasattr(self, "network_"):  # faster than check_is_fitted
            check_is_fitted(self)
        net = self._network()
        z = None if hasattr(self, "feature_names_in_") else net.predictor.few(X)
        if z is not None:
            return z
        return net.predictor(self._validated(X))

    def output(
        self, X: Float[Array, "N D"], basis: Float[Array, "K D"] | None = None
    ) -> Float[np.ndarray, "N H"]:
        """The network's output for finite numbers, as an array or CSR matrix of fitted columns.

        With a `basis`, it is the output for the rows of the product X @ basis.
        """
        if basis is not None:
            return Predictor(self._network().on_basis(basis))(X)
        predictor = self._network().predictor
        z = predictor.few(X)
        return predictor(X) if z is None else z

    def combined(self, outputs: Sequence[Float[np.ndarray, "N H"]]) -> Float[np.ndarray, "N H"]:
        """The output of an ensemble whose members have these outputs: their mean."""
        total = outputs[0] if len(outputs) == 1 else sum(outputs[1:], outputs[0])
        return total / len(outputs)

    def _validated(self, X: Any) -> Any:
        """X as an array of the fitted number of columns, or an error that says what is wrong."""
        if is_plain(X) and self._accepts_columns(X, reset=False):
            return X
        with raised_as_input_error():
            return validate_data(
                self, X, accept_sparse=["csr", "csc"], dtype=INPUT_DTYPES, reset=False
            )

    def _validated_pair(
        self, X: Any, y: Any, *, reset: bool, plain_y: bool, numeric: bool = False
    ) -> tuple[Any, Any]:
        """X and y as arrays of as many rows; `plain_y` says whether y needs no conversion."""
        if plain_y and is_plain(X) and len(X) == len(y) and self._accepts_columns(X, reset):
            return X, y
        missing = missing_targets(y)
        if missing is not None:
            y = np.where(missing, 0.0, y)
        with raised_as_input_error():
            X, y = validate_data(
                self, X, y, accept_sparse=["csr", "csc"], multi_output=True, y_numeric=numeric,
                dtype=INPUT_DTYPES, reset=reset,
            )  # fmt: skip
        return X, y if missing is None else np.where(missing, np.nan, y)

    def _accepts_columns(self, X: np.ndarray, reset: bool) -> bool:
        """Whether X, which has no names of columns, has the fitted columns; `reset` learns them."""
        if reset:
            self.__dict__.pop("feature_names_in_", None)
            self.n_features_in_ = X.shape[1]
        fitted = getattr(self, "n_features_in_", None)
        return X.shape[1] == fitted and not hasattr(self, "feature_names_in_")

    def _network(self) -> Network:
        """The fitted network, with the arrays that the user has assigned to `coefs_`."""
        net = self.network_
        for own, given in ((net.W, self.coefs_), (net.b, self.intercepts_)):
            for l in range(len(own)):
                if given[l] is not own[l]:
                    own[l][...] = given[l]
                    given[l] = own[l]
        return net

    # ------------------------------------------------------------ validation

    def _set_aside(
        self, net: Network, rows: TrainingRows, state: TrainingState, groups: Any
    ) -> tuple[TrainingRows, Rows]:
        """The rows to train on, and the held-out rows for early stopping."""
        assert state.rng is not None
        split = getattr(self, "validation_split", None)  # earlier versions did not have it
        if split is not None or groups is not None:
            if not isinstance(rows, Rows):
                raise InputError("A stream has neither groups nor a validation_split.")
            return held_out(rows, split, self.validation_fraction, groups, state.rng)
        if isinstance(rows, Rows):
            n_held = int(np.ceil(self.validation_fraction * len(rows)))
            kept, held = rows.split(
                net, self.validation_fraction, state.rng, self._stratify(rows, n_held)
            )
            if len(held) < 2:
                raise InputError(
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
        rows = HeldOut(self.network_, held)

        def evaluate() -> tuple[float, float]:
            net = self.network_
            if not np.isfinite(net.theta).all():
                return float("nan"), float("nan")
            loss, z = rows.evaluate()
            if scorer is not None:
                return loss, float(scorer(view, held.X, held.labels, **weights))
            if not np.isfinite(z).all():
                return loss, float("nan")
            score = self._default_score(z, held)
            return loss, -loss if score is None else score

        return evaluate

    def _view(self) -> Any:
        """A view of this estimator without feature names, as scorers receive validated arrays."""
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
        self.n_iter_ = history.n_epochs
        self.records_ = history.records
        self._signal = history.signal
        self.t_ += N * history.n_epochs
        self.loss_curve_ = [*self.loss_curve_, *history.loss_curve]
        if history.loss_curve:
            self.loss_ = history.loss_curve[(history.best_epoch or len(history.loss_curve)) - 1]
        else:
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

    @property
    def best_epoch_(self) -> int | None:
        """The epoch whose weights early stopping kept, counted from 1; None without it."""
        losses = self.validation_loss_curve_
        if not self.early_stopping or not losses:
            return None
        by_loss = self.scoring == "loss" or not self.validation_scores_
        values = -np.asarray(losses) if by_loss else np.asarray(self.validation_scores_)
        return int(np.nanargmax(values)) + 1 if np.isfinite(values).any() else None

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

    # ------------------------------------------------------------ model files

    _saved_attributes: ClassVar[tuple[str, ...]] = (
        "n_features_in_", "feature_names_in_", "loss_", "best_loss_", "loss_curve_",
        "validation_scores_", "validation_loss_curve_", "best_validation_score_", "n_iter_", "t_",
        "stop_reason_", "_progress", "_plateau",
    )  # fmt: skip
    """The fitted attributes that a model file may contain; the network is stored beside them."""

    def __deltaprop_state__(self) -> EstimatorState:
        """What :func:`deltaprop.save` stores."""
        state = state_of(self, self._saved_attributes, self._network())
        for name in ("_progress", "_plateau"):
            if name in state.fitted:
                state.fitted[name] = dict(vars(state.fitted[name]))
        return state

    def __deltaprop_restore__(self, fitted: dict[str, Any], network: Network) -> None:
        """Restore what `__deltaprop_state__` returned; ModelFileError if it is inconsistent."""
        restore_attributes(self, fitted, self._saved_attributes)
        self._attach(network)
        self._require_consistent()
        if "_plateau" in fitted:
            self._plateau = Plateau(**fitted["_plateau"])
        if "_progress" in fitted:
            self._progress = TrainingState(**fitted["_progress"])
            require_sound(self._progress, network.theta)
        require_prediction(self, np.zeros((1, self.n_features_in_)))

    def _require_consistent(self) -> None:
        """Raise ModelFileError if the fitted attributes do not fit the network."""
        if self.n_features_in_ != self.network_.n_features:
            raise ModelFileError("its number of features differs from that of its network")

    # ------------------------------------------------------------ pickling

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "network_" in state:
            self._network()
            del state["coefs_"], state["intercepts_"]  # views would be pickled as copies
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
        if solvers.is_full_batch(self.solver):
            raise AttributeError(
                f"partial_fit is only available for stochastic optimizers. {self.solver} is not "
                "stochastic."
            )
        return True


def _as_setting(default: Any, value: Any) -> Any:
    """A parameter as the setting of a solver that has this default."""
    if isinstance(default, schedules.Schedule):
        return schedules.get(value)
    number: type[Any] = type(default)  # a NumPy scalar could promote float32
    return number(value)


@functools.cache
def _parameter_names(cls: type[BaseMLP]) -> list[str]:
    """The names of the parameters, which scikit-learn would read from the signature each time."""
    names: list[str] = cast(Any, super(BaseMLP, cls))._get_param_names()
    return names


def working_dtype(data: Any) -> np.dtype:
    """float32 for float32, else float64, as in scikit-learn."""
    return np.dtype("float32" if data.dtype == np.float32 else "float64")


def by_rows(X: Any) -> Any:
    """X with fast access to its rows: CSC becomes CSR."""
    return X.tocsr() if hasattr(X, "tocsr") else X


def _per_layer(name: str, value: Any, n_layers: int, single: Any) -> list[Any]:
    """The value of each hidden layer, from a single value or a sequence."""
    if isinstance(value, single):
        return [value] * n_layers
    values = list(value)
    if len(values) != n_layers:
        raise InputError(
            f"{name} has {len(values)} entries, but hidden_layer_sizes has {n_layers} layer(s). "
            f"Pass one {name} for all layers or one for each."
        )
    return values
