"""The common part of both tabular estimators: encoding, members, held-out predictions."""

from __future__ import annotations

import copy
import signal
import time
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from html import escape
from numbers import Integral
from typing import TYPE_CHECKING, Any, ClassVar, Self, cast

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from deltaprop.data.encoder import TableEncoder
from deltaprop.data.frames import as_frame
from deltaprop.data.reading import UnparsedCells
from deltaprop.data.streamed_rows import refuse_with_stream
from deltaprop.data.streams.stream import Stream
from deltaprop.engines.fused.processors import available
from deltaprop.engines.xla_engine import Xla
from deltaprop.errors import InputError, warn
from deltaprop.estimators._base import UNFINISHED, BaseMLP, diagram
from deltaprop.estimators._saving import (
    EstimatorState,
    require_prediction,
    restore_attributes,
    state_of,
)
from deltaprop.estimators.fitted import TargetKind
from deltaprop.estimators.glass_box import GlassBox
from deltaprop.estimators.hidden import HiddenUnits
from deltaprop.estimators.monotonic import signs_of
from deltaprop.estimators.parameters import AUTO, RunParameters, TabularParameters
from deltaprop.estimators.plain import missing_targets
from deltaprop.estimators.tabular.baseline import Baseline
from deltaprop.estimators.tabular.calibration import Conformal
from deltaprop.estimators.tabular.fingerprint import Fingerprint
from deltaprop.estimators.tabular.folds import Fold, folds_for, most_folds
from deltaprop.estimators.tabular.members import (
    INTERRUPTED,
    Deadline,
    Trained,
    held_out_output,
    refitted,
    train_members,
)
from deltaprop.estimators.tabular.presets import PRESETS, SEVERAL, Preset
from deltaprop.estimators.tabular.summaries import columns_html, summary
from deltaprop.functions.checks import is_int
from deltaprop.model.inputs import check_weights
from deltaprop.network import Network
from deltaprop.optim.solvers import is_full_batch
from deltaprop.storage.codec import ModelFileError
from deltaprop.training.history import History

if TYPE_CHECKING:
    from jaxtyping import Float

    from deltaprop.data.rows import Rows
    from deltaprop.estimators.contributing import Output
    from deltaprop.explain.verdicts import Verification
    from deltaprop.functions.arrays import Array

SAMPLE = 100_000  # rows of a stream from which the encoding is learned
FEWEST_TO_STOP = 10  # rows: a share of fewer is no validation data for a single network
# Parameters that the MLP estimators do not have.
OWN = (
    "preset", "time_limit", "cv", "refit", "n_bins", "numbers", "decision_threshold", "cost",
)  # fmt: skip


class BaseTabular(GlassBox, HiddenUnits, RunParameters, TabularParameters, BaseEstimator):
    """The common part of both tabular estimators."""

    _parameter_constraints: ClassVar[dict[str, list[Any]]]
    _mlp: ClassVar[type[BaseMLP]]

    encoder_: TableEncoder
    members_: list[Any]
    target_name_: str | None
    cv_score_: float | None
    cv_prediction_: np.ndarray | None
    held_out_: list[Conformal] | None
    fingerprint_: Fingerprint | None
    baseline_: Baseline | None
    _signal: int | None

    # ------------------------------------------------------------ differs between the subclasses

    @abstractmethod
    def _calibrate(self, z: Float[np.ndarray, "N H"], rows: Rows) -> Float[np.ndarray, "N H"]:
        """Learn from the outputs for held-out rows. Returns them as calibrated."""

    def _cool(self, network: Network) -> None:
        """Divide the inputs of the last activation of a network by the temperature."""

    def _check_decision(self, single: bool) -> None:
        """Raise ValueError if the parameters of the decision do not fit the target, or a single
        network, which has no held-out predictions."""

    def _learn_decision(self, z: Float[np.ndarray, "N H"], rows: Rows) -> None:
        """Learn from the calibrated outputs for held-out rows which class to predict."""

    @abstractmethod
    def _prediction_of(self, z: Float[np.ndarray, "N H"]) -> np.ndarray:
        """The probabilities, or the predicted numbers, for outputs, which may be NaN."""

    @abstractmethod
    def _score_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> float | None:
        """The score of outputs for rows with a known target, as ``score`` computes it."""

    @abstractmethod
    def _errors_of(self, z: Float[np.ndarray, "N H"], rows: Rows) -> list[Conformal] | None:
        """The scores from which intervals or sets are made, for each target."""

    # ------------------------------------------------------------ fitting

    @property
    def mlp_(self) -> Any:
        """The first member, which is the only one if there is no cross-validation."""
        return self._fitted_members()[0]

    @property
    def network_(self) -> Network:
        """The network of the first member, which is the only one without a cross-validation."""
        return self.networks_[0]

    @property
    def networks_(self) -> list[Network]:
        """The networks of all members."""
        return [member.fitted_network() for member in self._fitted_members()]

    def _fitted_members(self) -> list[Any]:
        if "members_" not in self.__dict__:
            raise AttributeError(f"This {type(self).__name__} is not fitted yet.")
        return self.members_

    def member(self, index: int) -> Self:
        """The model that has only one of the members.

        Parameters
        ----------
        index : int
            The index of the member in ``members_``.

        Returns
        -------
        TabularClassifier or TabularRegressor
            It shares the encoder and the member with this model. It has no held-out predictions:
            ``cv_score_`` and the like are None.

        Raises
        ------
        ValueError
            If there is no such member.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.TabularRegressor(cv=3, max_iter=5, random_state=0).fit(X, y)
        >>> model.member(2).networks_[0] is model.networks_[2]
        True
        """
        check_is_fitted(self)
        n = len(self.members_)
        if not is_int(index, 0) or index >= n:
            raise InputError(f"index must be an int from 0 to {n - 1}, got {index!r}.")
        one = copy.copy(self)
        one._set(self.encoder_, [self.members_[index]])
        return one

    def check(self, X: Any, y: Any, sample_weight: Any = None) -> Verification:
        """Verify the equations of each member's network numerically, on at most 100 rows.

        Parameters
        ----------
        X : DataFrame
            A table with the columns that the model was fitted to.
        y : array-like of shape (n_samples,)
            The target, as ``fit`` takes it.
        sample_weight : array-like of shape (n_samples,), optional

        Returns
        -------
        Verification
            For each equation, the result of the member for which it is furthest from holding.
            :meth:`deltaprop.Network.check` explains it. All members together take as long as a
            single network, because fewer entries of each W_l are perturbed.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.TabularRegressor((2,), cv=3, max_iter=5, random_state=0).fit(X, y)
        >>> model.check(X, y).ok
        True
        """
        from deltaprop.explain.verification import verify_members

        return verify_members(self.networks_, *self._encoded(X, y), sample_weight)

    def fine_tuned(
        self, X: Any, y: Any, sample_weight: Any = None, *,
        freeze: Sequence[int] | None = None, learning_rate_init: float = 1e-4, max_iter: int = 20,
    ) -> Self:  # fmt: skip
        """A copy of this fitted model whose members continue to be trained on other rows.

        The encoding stays as it is, and so does the temperature of probabilities. `checkpoint` and
        `record` belong to one call of ``fit``: they are None in the new model.

        Parameters
        ----------
        X : DataFrame, array-like, sparse matrix or dict of columns
            The rows to train on, with the columns of the first training.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Their targets. Not all of the known classes need to occur; new ones are an error.
        sample_weight : array-like of shape (n_samples,), optional
            Weights of the rows.
        freeze : list of int, optional
            Layers whose weights and biases stay as they are: 0 is the first.
        learning_rate_init : float, default=1e-4
            Learning rate, which should be smaller than that of ``fit``.
        max_iter : int, default=20
            Number of epochs. There is no early stopping.

        Returns
        -------
        TabularClassifier or TabularRegressor
            The copy; this model is unchanged. The copy has no held-out predictions:
            ``cv_score_`` and the like are None.

        Raises
        ------
        ValueError
            As in ``fit``.

        Examples
        --------
        >>> import deltaprop as dp
        >>> X, y = [[0.0], [1.0], [2.0], [3.0]] * 5, [0.0, 1.0, 2.0, 3.0] * 5
        >>> model = dp.TabularRegressor(cv=3, max_iter=5, random_state=0).fit(X, y)
        >>> other = model.fine_tuned(X[:8], y[:8], freeze=[0], max_iter=2)
        >>> len(other.members_), other.cv_score_ is None
        (3, True)
        """
        check_is_fitted(self)
        Z, target = self.encoder_.encode_compactly(X), self._target_of(y)
        how: dict[str, Any] = {
            "freeze": freeze, "learning_rate_init": learning_rate_init, "max_iter": max_iter,
            "learning_rate": "constant", "early_stopping": False, "dropout": 0.0, "ema_decay": 0.0,
        }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            members = [m.fine_tuned(Z, target, sample_weight, **how) for m in self.members_]
        twin = copy.copy(self)
        twin.checkpoint, twin.record = None, None
        twin._set(self.encoder_, members)
        return twin

    @abstractmethod
    def _target_of(self, y: Any) -> np.ndarray:
        """y as the members' ``fit`` takes it."""

    def _fit_members(self, X: Any, y: np.ndarray, sample_weight: Any, groups: Any) -> None:
        """Encode the rows of X and train the members on them; `y` as the MLP estimators take it."""
        began = time.monotonic()
        self._check_own_parameters()
        preset = self._preset(len(y), _n_columns(X))
        encoder = TableEncoder(n_bins=preset.n_bins, numbers=self.numbers).fit(X)
        Z = encoder.encode_compactly(X)
        rng = check_random_state(self.random_state)
        cv = self._cv(preset, len(y), groups)
        first = self._new_mlp(preset, len(y), encoder)
        self._set(encoder, [first])
        left = None if self.time_limit is None else self.time_limit - (time.monotonic() - began)
        if cv == 1:
            self._check_decision(single=True)
            first.early_stopping &= len(y) >= FEWEST_TO_STOP
            self._single(first, Z, y, sample_weight, left)
            return
        rows = first.checked_rows(Z, y, sample_weight)
        self._check_decision(single=False)
        repeats = preset.repeats if self.cv == AUTO else 1
        folds = folds_for(
            cv, rows.y if rows.labels is None else rows.labels, groups=groups,
            stratify=first.target_kind() == "classes", repeats=repeats, rng=rng,
        )  # fmt: skip
        end = None if left is None else time.monotonic() + left
        trained = self._train(first, rows, folds, rng, left, len(folds) // repeats)
        self.members_ = [t.member for t in trained]
        own_weights = check_weights(sample_weight, rows.X)
        self._learn_from_held_out(trained, rows, own_weights)
        if self.refit and self._signal is None:
            self._refit(first, rows, int(rng.randint(2**31 - 1)), end)

    def _refit(self, first: BaseMLP, rows: Rows, seed: int, end: float | None) -> None:
        """Replace the members by a network trained on all rows, unless that is interrupted."""
        member = refitted(first, self.members_, rows, seed, end)
        if member.stop_reason_ == INTERRUPTED:
            self._signal = member._signal
            return
        self._cool(member.network_)
        self.members_ = [member]

    def _single(
        self, mlp: Any, Z: Float[Array, "N D"], y: np.ndarray, w: Any, seconds: float | None
    ) -> None:
        """Train a network on most rows and validate it on the others."""
        callbacks = mlp.callbacks
        if seconds is not None:
            end = time.monotonic() + seconds
            mlp.callbacks = [*(callbacks or ()), lambda _: time.monotonic() >= end]
        with self._as_planned():
            mlp.fit(Z, y, w)
        mlp.callbacks = callbacks

    @contextmanager
    def _as_planned(self) -> Iterator[None]:
        """Context in which the end of the planned number of epochs is no reason for a warning."""
        with warnings.catch_warnings():
            if _is_auto(self.max_iter) and self.mlp_.learning_rate != "constant":
                warnings.simplefilter("ignore", ConvergenceWarning)
            yield

    def _train(
        self, first: BaseMLP, rows: Rows, folds: Sequence[Fold], rng: np.random.RandomState,
        seconds: float | None, must: int,
    ) -> list[Trained]:  # fmt: skip
        n_jobs = 1 if self._uses_xla() else min(available(), len(folds))
        first.n_threads = 1 if n_jobs > 1 else None
        deadline = None
        if seconds is not None:
            turns = -(-len(folds) // n_jobs)
            share = turns / (turns + 1) if self.refit else 1.0
            deadline = Deadline(max(0.0, seconds * share), len(folds), n_jobs, must)
        seeds = [int(seed) for seed in rng.randint(2**31 - 1, size=len(folds))]
        trained, self._signal = train_members(
            first, rows, folds, n_jobs=n_jobs, seeds=seeds, deadline=deadline, begun=self._show
        )
        for t in trained:
            t.member.n_threads = None
        if self._signal is None and any(t.member._is_unfinished() for t in trained):
            warn(UNFINISHED.format(first.max_iter), ConvergenceWarning)
        return trained

    def _learn_from_held_out(
        self, trained: Sequence[Trained], rows: Rows, w: Float[np.ndarray, " N"] | None
    ) -> None:
        """Set what follows from the predictions for rows by the members that did not see them.

        The members minimize a loss that `class_weight` weights as well, and so does the
        calibration. `w` are the sample weights alone, as ``score`` takes them.
        """
        z = held_out_output(trained, rows.X)
        known = np.flatnonzero(np.isfinite(z).all(axis=1))
        if len(known) == 0:
            return
        held = rows.take(known)
        z[known] = self._calibrate(z[known], held)
        held = replace(held, w=None if w is None else w[known])
        self._learn_decision(z[known], held)
        self.cv_prediction_ = self._prediction_of(z)
        self.cv_score_ = self._score_of(z[known], held)
        self.held_out_ = self._errors_of(z[known], held)

    def _show(self, member: BaseMLP) -> None:
        """Let callbacks open the model while its first member is trained."""
        self.members_ = [member]

    def interrupted_by(self) -> int | None:
        """The signal that interrupted the last fit; None if it ran to its end."""
        if self.mlp_.stop_reason_ == INTERRUPTED:
            return self._signal or self.mlp_._signal or int(signal.SIGINT)
        return self._signal

    def _set(self, encoder: TableEncoder, members: list[Any]) -> None:
        self._set_encoder(encoder)
        self.members_ = members
        self._signal = None
        self.cv_score_, self.cv_prediction_, self.held_out_ = None, None, None
        self.fingerprint_, self.baseline_ = None, None

    def _remember(self, X: Any, y: Any, share: float = 1.0) -> None:
        """Keep a fingerprint of the rows, unless their privacy is to be protected."""
        if self.privacy is None:
            self.fingerprint_ = Fingerprint.of(X, y, share)

    # ------------------------------------------------------------ parameters

    def _check_own_parameters(self) -> None:
        if self.preset not in PRESETS:
            raise InputError(f"preset must be one of {', '.join(PRESETS)}; got {self.preset!r}.")
        limit = self.time_limit
        if limit is not None and not (isinstance(limit, (int, float)) and limit > 0):
            raise InputError(f"time_limit must be a number of seconds > 0 or None; got {limit!r}.")
        if isinstance(self.cv, Integral) and not is_int(self.cv, 1):
            raise InputError(f"cv must be an int >= 1, got {self.cv!r}.")

    def _preset(self, n_rows: int, n_columns: int) -> Preset:
        """The values of the parameters that are "auto", and the others as the user gave them."""
        preset = PRESETS[self.preset].for_rows(n_rows).for_columns(n_columns)
        if n_rows >= SEVERAL and _is_auto(self.cv) and preset.cv != PRESETS[self.preset].cv:
            networks = "a single network" if preset.cv == 1 else f"{preset.cv} networks"
            warn(
                f"The table has {n_rows:,} rows: preset={self.preset!r} trains {networks} instead "
                f"of {PRESETS[self.preset].cv * PRESETS[self.preset].repeats}. Set cv to train "
                "more."
            )
        given = {
            f.name: getattr(self, f.name)
            for f in fields(preset)
            if f.name not in ("cv", "repeats") and not _is_auto(getattr(self, f.name))
        }
        if self.periodic:  # instead of bins, unless they are asked for
            given = {"n_bins": 0, **given}
        if is_full_batch(self.solver):  # it needs no average, and a loss without random masks
            given = {"ema_decay": 0.0, "dropout": 0.0, **given}
        return preset.with_values(**given)

    def _cv(self, preset: Preset, n_rows: int, groups: Any) -> Any:
        """The number of folds or the splitter; 1 for a single network."""
        if self.privacy is not None:
            return 1
        if _is_auto(self.cv):
            single = is_full_batch(self.solver) or self._uses_xla()
            return 1 if single and groups is None else most_folds(n_rows, preset.cv)
        if isinstance(self.cv, Integral):
            return most_folds(n_rows, int(self.cv))
        return self.cv

    def _encoded_signs(self, encoder: TableEncoder) -> list[int] | None:
        """`monotonic_cst` for the encoded columns: a number rises with its bins."""
        names = list(encoder.columns_)
        signs = signs_of(self.monotonic_cst, len(names), names)
        if signs is None:
            return None
        found = np.zeros(encoder.layout.width, int)
        places = zip(encoder.layout.features, encoder.layout.parts(), strict=True)
        for (own, (_, bins)), column, sign in zip(
            places, encoder.columns_.values(), signs, strict=True
        ):
            if sign and column.kind != "numeric":
                raise InputError(
                    f"monotonic_cst is for columns of numbers, but {column.name!r} is encoded as "
                    f"{column.kind}."
                )
            found[[*own, *bins]] = sign
        return [int(sign) for sign in found]

    def _uses_xla(self) -> bool:
        return isinstance(self.engine, Xla) or self.engine == "xla"

    def _new_mlp(self, preset: Preset, n_rows: int, encoder: TableEncoder) -> Any:
        """An MLP estimator with the parameters of this estimator and settings for tables."""
        shared = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in OWN}
        parameters = shared | preset.parameters(n_rows) | {
            "early_stopping": not is_full_batch(self.solver) and self.privacy is None,
            "scoring": "loss",
            "tol": 0.0,
            "init": "he_uniform",
            "monotonic_cst": self._encoded_signs(encoder),
        }  # fmt: skip
        if self.periodic:
            numbers = encoder.layout.binned
            parameters |= {"periodic": self.periodic if numbers else 0, "periodic_columns": numbers}
        if self.privacy is not None:
            warn(
                "privacy covers the training of the network. The encoding of the table (categories,"
                " means, scales) is learned from the rows without noise and is not covered."
            )
        return self._mlp(**parameters)

    # ------------------------------------------------------------ predictions

    def _output(self, X: Any) -> Float[np.ndarray, "N H"]:
        """The output of the ensemble for the rows of a table."""
        self._require_fitted()
        Z, basis = self.encoder_.encode_for_predictions(X)
        if len(self.members_) == 1:
            return cast(np.ndarray, self.members_[0].output(Z, basis))
        outputs = [member.output(Z, basis) for member in self.members_]
        return cast(np.ndarray, self.members_[0].combined(outputs))

    def _require_fitted(self) -> None:
        if "encoder_" not in self.__dict__:  # faster than check_is_fitted
            check_is_fitted(self)

    def _errors(self) -> list[Conformal]:
        check_is_fitted(self)
        if self.held_out_ is None:
            raise InputError(
                "Intervals and sets need the predictions for held-out rows, which only a "
                "cross-validation gives: fit with cv >= 2 (preset='fast' and many rows otherwise "
                "mean a single network), and with a loss that predicts one class per row, or one "
                "number per target."
            )
        return self.held_out_

    # ------------------------------------------------------------ the protocol `Fitted`

    def fitted_mlp(self) -> Any:
        check_is_fitted(self)
        return self.mlp_

    def fitted_network(self) -> Network:
        return cast(Network, self.fitted_mlp().fitted_network())

    def _networks(self) -> list[Network]:
        return self.networks_

    def _columns_of_inputs(self) -> tuple[list[str], np.ndarray]:
        owners = np.zeros(self.encoder_.layout.width, int)
        for i, (others, bins) in enumerate(self.encoder_.layout.parts()):
            owners[[*others, *bins]] = i
        return list(self.encoder_.columns_), owners

    def _typical_row(self) -> Float[np.ndarray, "1 D"]:
        return self.encoder_.layout.medians()

    def _outputs(self) -> list[Output]:
        return cast("list[Output]", self.mlp_._outputs())

    def encode_rows(self, X: Any) -> Float[np.ndarray, "N D"]:
        return self._encode(X)

    def feature_names(self) -> list[str] | None:
        return [str(name) for name in self.encoder_.get_feature_names_out()]

    def column_kinds(self) -> dict[str, str]:
        return self.encoder_.kinds_

    def target_name(self) -> str | None:
        return self.target_name_

    def fit_history(self) -> History:
        return cast(History, self.mlp_.fit_history())

    def target_kind(self) -> TargetKind:
        return cast(TargetKind, self.mlp_.target_kind())

    def encode_target(self, y: Any) -> np.ndarray:
        return cast(np.ndarray, self.mlp_.encode_target(y))

    def output_in_words(self, z: Float[np.ndarray, "1 H"]) -> str | None:
        return cast("str | None", self.mlp_.output_in_words(z))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # encoded rows are float32
        return tags

    # ------------------------------------------------------------ notebooks

    def __repr__(self, N_CHAR_MAX: int = 700) -> str:
        text = super().__repr__(N_CHAR_MAX)
        return f"{text}\n# {summary(self)}" if "members_" in self.__dict__ else text

    def _html_repr(self) -> str:
        if "members_" not in self.__dict__:
            return diagram(self, None)
        return (
            diagram(self, self.mlp_.network_)
            + f"<p>{escape(summary(self))}</p>"
            + columns_html(self.encoder_)
        )

    # ------------------------------------------------------------ model files

    _saved_attributes: ClassVar[tuple[str, ...]] = (
        "n_features_in_", "feature_names_in_", "encoder_", "target_name_", "cv_score_",
        "held_out_", "fingerprint_", "baseline_",
    )  # fmt: skip
    """The fitted attributes that a model file may contain; the members are stored beside them."""

    def __deltaprop_state__(self) -> EstimatorState:
        """What :func:`deltaprop.save` stores."""
        return state_of(self, self._saved_attributes, self.members_)

    def __deltaprop_restore__(self, fitted: dict[str, Any], members: list[BaseMLP]) -> None:
        """Restore what `__deltaprop_state__` returned; ModelFileError if it is inconsistent."""
        # Earlier versions did not store these, and no version stores a prediction for each row.
        self.cv_score_, self.cv_prediction_, self.held_out_ = None, None, None
        self.fingerprint_, self.baseline_ = None, None
        restore_attributes(self, fitted, self._saved_attributes)
        self.members_ = members
        if not isinstance(fitted.get("encoder_"), TableEncoder):
            raise ModelFileError("it contains no preprocessing")
        self.encoder_.upgrade()
        self._require_consistent()
        # A row of missing values and a row of strings go through every step.
        columns = self.encoder_.columns_
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UnparsedCells)
            require_prediction(self, pd.DataFrame({name: [None, "1"] for name in columns}))

    def _require_consistent(self) -> None:
        """Raise ModelFileError if the fitted attributes do not fit the parts."""
        self._require_equal("n_features_in_", self.encoder_)
        self._require_equal("feature_names_in_", self.encoder_)
        errors = self.held_out_
        if errors is not None and not (
            isinstance(errors, list) and errors and all(isinstance(e, Conformal) for e in errors)
        ):
            raise ModelFileError("its held_out_ is not of the expected kind")
        for name, kind in (("fingerprint_", Fingerprint), ("baseline_", Baseline)):
            if not isinstance(getattr(self, name), (kind, type(None))):
                raise ModelFileError(f"its {name} is not of the expected kind")
        if self.baseline_ is not None and len(self.baseline_.coef) != self.mlp_.n_features_in_:
            raise ModelFileError("its baseline_ does not fit its columns")

    def _require_equal(self, name: str, part: Any) -> None:
        if not np.array_equal(getattr(self, name), getattr(part, name)):
            raise ModelFileError(f"its {name} differs from that of its {type(part).__name__}")

    # ------------------------------------------------------------ encoding

    def _set_encoder(self, encoder: TableEncoder) -> None:
        self.encoder_ = encoder
        self.feature_names_in_ = encoder.feature_names_in_
        self.n_features_in_ = encoder.n_features_in_

    def _fit_stream(
        self, X: Stream, y: Any, sample_weight: Any, encode_y: Callable[[Any], Any] | None = None
    ) -> None:
        """Train a single network on the rows of a stream."""
        refuse_with_stream(y=y, sample_weight=sample_weight)
        self._check_own_parameters()
        preset = self._preset(len(X), len(X.features))
        rows, drawn = self._encoded_stream(X, preset)
        self._set(self.encoder_, [self._new_mlp(preset, len(rows), self.encoder_)])
        self._check_decision(single=True)
        with self._as_planned():
            self.mlp_.fit(rows if encode_y is None else rows.encoded(None, encode_y))
        self._remember(*drawn)

    def _encoded_stream(self, X: Stream, preset: Preset) -> tuple[Stream, tuple[Any, Any, float]]:
        """The rows of the stream, with an encoding that is learned from a random sample.

        Also returns the sample: its features, its target, and its share of the rows.
        """
        self.target_name_ = X.target
        drawn = X.sample(SAMPLE, every_category=True)
        sample = drawn[list(X.features)]
        sample = sample.astype(dict.fromkeys(X.category_features(), "category"))
        self._set_encoder(TableEncoder(n_bins=preset.n_bins, numbers=self.numbers).fit(sample))
        encoded = X.encoded(self.encoder_.encode, None, self.encoder_.layout.width)
        return encoded, (sample, drawn.get(X.target), min(1.0, len(drawn) / len(X)))

    def _encode(self, X: Any) -> Float[np.ndarray, "N D"]:
        self._require_fitted()
        return self.encoder_.encode(X)


def _n_columns(X: Any) -> int:
    shape: tuple[int, ...] = getattr(X, "shape", ())
    return int(shape[1] if len(shape) == 2 else as_frame(X).shape[1])


def column(y: Any) -> np.ndarray:
    """y as an array; of one column, as a vector."""
    if y is None:
        raise InputError("This estimator requires y to be passed, but the target y is None.")
    values = np.asarray(y.toarray() if hasattr(y, "toarray") else y)
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    return values


def name_of(y: Any) -> str | None:
    """The column name of the target, if it has one."""
    name = getattr(y, "name", None)
    return None if name is None else str(name)


def weights_of_known_rows(y: np.ndarray, sample_weight: Any) -> Any:
    """The sample weights, with 0 for rows of which no target is known; a warning counts them."""
    missing = missing_targets(y)
    if missing is None or not missing.all(axis=1).any():
        return sample_weight
    unknown = missing.all(axis=1)
    warn(f"{unknown.sum():,} of {len(y):,} rows have no known target; they are not used.")
    return np.where(unknown, 0.0, 1.0 if sample_weight is None else sample_weight)


def _is_auto(value: Any) -> bool:
    return isinstance(value, str) and value == AUTO
