"""Write the fixtures of ``tests/test_compatibility.py``: files of one version, for later ones.

Run this with the version of deltaprop that the files are to come from, which need not be the
version that this script lies in::

    PYTHONPATH=/path/to/that/version/src python tests/compatibility/make_fixtures.py

The script uses public names of deltaprop only, so that it runs with any version. It replaces
everything in the folder that it lies in, except itself:

``data.npz``, ``table.csv``, ``stream.parquet``
    The rows that all models and searches are about.
``models/NAME.dp.bin``
    What ``dp.save`` wrote; an entry of `NETWORKS`, `ESTIMATORS` or `TABULARS` says what it is.
``checkpoints/NAME/checkpoint-….dp.bin``
    What a search left behind that was cut off, as an entry of `SEARCHES` says, or `CLASSIFIER`.
``models/expected.npz``, ``checkpoints/expected.npz``
    Arrays that the same version then computed: predictions, parameters, and the end of each search
    that went on from its checkpoint. The names are ``NAME/WHAT``.
``expected.json``
    Counts, words and curves of models and searches, and the versions that wrote all this.

Model files and checkpoints end in ``.dp.bin`` because git ignores ``*.dp``. No file is a pickle.

The test imports the descriptions below, so that a model or a search is described once. Whoever
changes one of them has to write its fixture again, with the old version.
"""

from __future__ import annotations

import json
import platform
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone

import deltaprop as dp

HERE = Path(__file__).parent
MODELS, CHECKPOINTS, EXPECTED = HERE / "models", HERE / "checkpoints", HERE / "expected.json"
DATA, TABLE, STREAM = HERE / "data.npz", HERE / "table.csv", HERE / "stream.parquet"
SUFFIX = ".bin"
PACKAGES = ("numpy", "scipy", "scikit-learn", "skrub", "pandas", "numba", "jax")


# ---------------------------------------------------------------- data


def data() -> dict[str, np.ndarray]:
    """Rows X, and targets for every kind of loss."""
    with np.load(DATA) as file:
        return dict(file)


def table() -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """The columns of a small table of every kind, and two targets: "kind" and "price"."""
    frame = dp.tables.read_table(TABLE)
    frame["sold"] = pd.to_datetime(frame["sold"])
    targets = {name: frame.pop(name) for name in ("kind", "price")}
    return frame, targets


def new_rows() -> pd.DataFrame:
    """The table with values that no model has seen: other words, other dates, nothing."""
    frame, _ = table()
    return frame.assign(colour="unseen", size=np.nan, built="never", note=None).head(10)


def stream() -> Any:
    """The rows of the Parquet file, which a search reads piece by piece."""
    return dp.tables.stream(STREAM, target="y", weight="w", memory="1MB")


# ---------------------------------------------------------------- functions of the user's own


def _sine(a, xp):
    return xp.sin(a)


def _sine_d(a, z, xp):
    return xp.cos(a)


def _fourth(t, yhat, xp):
    return (yhat - t) ** 4


def _fourth_d(t, yhat, xp):
    return 4 * (yhat - t) ** 3


SINE = dp.Activation("sine", _sine, _sine_d)
FOURTH = dp.Loss("fourth_power", _fourth, _fourth_d)
CUSTOM = {"sine": SINE, "fourth_power": FOURTH}


# ---------------------------------------------------------------- networks


@dataclass(frozen=True)
class Net:
    """A network of three features, and the target that it is about.

    Attributes
    ----------
    hidden : tuple of str, Activation or Dense
        The hidden layers; an activation stands for a layer of 4 units.
    out : str
        The activation of the last layer.
    units : int
        Of the last layer.
    loss : str or Loss
    target : str
        A name in `data()`.
    settings : dict
        Further arguments of ``dp.Network``.
    """

    hidden: tuple[Any, ...]
    out: str
    units: int
    loss: Any
    target: str
    settings: dict[str, Any] = field(default_factory=dict)

    def make(self, seed: int = 0) -> dp.Network:
        hidden = [f if isinstance(f, dp.Dense) else dp.Dense(4, f) for f in self.hidden]
        layers = [*hidden, dp.Dense(self.units, self.out)]
        return dp.Network(3, layers, loss=self.loss, seed=seed, **self.settings)


NETWORKS = {
    "squared_error": Net(("identity", "relu"), "identity", 1, "squared_error", "numbers"),
    "absolute_error": Net(
        ("leaky_relu", "elu"), "identity", 2, "absolute_error", "pairs", {"reduction": "mean"}
    ),
    "huber": Net(
        (dp.Dense(4, "selu", 0.25), dp.Dense(3, "gelu", 0.5)),
        "identity", 1, dp.losses.Huber(delta=0.4), "numbers", {"l2": 0.03},
    ),
    "quantiles": Net(
        ("gelu_tanh", "silu"), "identity", 6, dp.losses.Quantile((0.1, 0.5, 0.9)), "pairs"
    ),
    "quantile": Net(("mish",), "identity", 1, dp.losses.Quantile(0.3), "numbers"),
    "log_cosh": Net(
        ("softplus", "logistic"), "identity", 1, "log_cosh", "numbers", {"init": "orthogonal"}
    ),
    "poisson": Net(("tanh", "exp"), "exp", 1, "poisson", "counts", {"dtype": "float32"}),
    "gamma": Net(("softmax",), "exp", 1, "gamma", "amounts", {"init": "he_normal"}),
    "tweedie": Net(
        ("mean_variance",), "exp", 1, dp.losses.Tweedie(power=1.7), "counts", {"init": "sklearn"}
    ),
    "gaussian_nll": Net(
        ("sigmoid",), "mean_variance", 4, "gaussian_nll", "pairs",
        {"l2": 0.01, "reduction": "sklearn"},
    ),
    "binary_cross_entropy": Net(
        ("tanh",), "logistic", 3,
        dp.losses.BinaryCrossEntropy(label_smoothing=0.1, class_weight=(0.7, 1.4)), "labels",
    ),
    "cross_entropy": Net(
        ("relu", "tanh"), "softmax", 3,
        dp.losses.CrossEntropy(label_smoothing=0.2, class_weight=(1.0, 2.5, 0.5)), "classes",
    ),
    "focal": Net(("silu",), "softmax", 3, dp.losses.Focal(gamma=3.5), "classes"),
    "focal_binary": Net((), "logistic", 1, "focal", "binary"),
    "hinge": Net(("tanh",), "identity", 3, "hinge", "classes"),
    "tanh_of_softplus": Net(("tanh",), "softplus", 1, "squared_error", "amounts"),  # no closed form
    "custom": Net((SINE, "tanh"), "identity", 1, FOURTH, "numbers"),
}  # fmt: skip


def network_outputs(net: dp.Network, name: str) -> dict[str, np.ndarray]:
    """What a network computes from the data that it is about."""
    rows = data()
    X, y = rows["X"], rows[NETWORKS[name].target]
    return {
        "predict": net.predict(X),
        "yhat": net.trace(X, y).X[-1],  # by the equations; predict may be compiled
        "loss": np.array(net.loss(X, y, rows["weights"])),
        "gradient": net.gradient(X, y, rows["weights"]).flat,
    }


# ---------------------------------------------------------------- estimators


@dataclass(frozen=True)
class Fitted:
    """An estimator, and how it was fitted.

    Attributes
    ----------
    model : estimator
        Before its fit.
    target : str
        A name in `data()`.
    passes : int
        How many times ``partial_fit`` was called in place of ``fit``; 0 for ``fit``.
    goes_on : bool
        Whether the loaded estimator has to learn on as the saved one would, by ``partial_fit``.
    named : bool
        Whether X is a DataFrame, whose names the estimator keeps.
    float32 : bool
        Whether X is in single precision, and the network with it.
    """

    model: Any
    target: str
    passes: int = 0
    goes_on: bool = False
    named: bool = False
    float32: bool = False

    def make(self) -> Any:
        return clone(self.model)

    def rows(self) -> tuple[Any, np.ndarray]:
        rows = data()
        X, y = rows["X"], rows[self.target]
        X = X.astype(np.float32) if self.float32 else X
        return (pd.DataFrame(X, columns=["a", "b", "c"]) if self.named else X), y

    def fit(self) -> Any:
        model, (X, y) = self.make(), self.rows()
        if not self.passes:
            return model.fit(X, y)
        for i in range(self.passes):
            first = {"classes": np.unique(y)} if i == 0 and hasattr(model, "predict_proba") else {}
            model.partial_fit(X, y, **first)
        return model


REFERENCE = {"max_iter": 4, "batch_size": 8, "random_state": 0, "engine": "reference"}
FUSED = REFERENCE | {"engine": "fused", "n_threads": 1}
ESTIMATORS = {
    "classifier_binary": Fitted(
        dp.MLPClassifier((5,), "tanh", dropout=0.2, **REFERENCE), "two_words", goes_on=True
    ),
    "classifier_early_stopping": Fitted(
        dp.MLPClassifier(
            (6, 4), ["gelu", "mish"], early_stopping=True, validation_fraction=0.25, tol=0.0,
            n_iter_no_change=3, dropout=[0.1, 0.0], learning_rate_init=0.05,
            loss=dp.losses.CrossEntropy(label_smoothing=0.1), class_weight="balanced",
            **REFERENCE | {"max_iter": 12},
        ),
        "three_words",
    ),
    "classifier_multilabel": Fitted(
        dp.MLPClassifier(
            4, solver="adamw", weight_decay=0.1, clip_norm=0.5, init="he_uniform", **FUSED
        ),
        "labels", goes_on=True,
    ),
    "classifier_partial_fit": Fitted(
        dp.MLPClassifier(
            (5,), "logistic", solver="sgd", momentum=0.8, nesterovs_momentum=True,
            learning_rate="invscaling", power_t=0.3, learning_rate_init=0.2, **REFERENCE,
        ),
        "three_words", passes=3, goes_on=True,
    ),
    "classifier_schedule": Fitted(
        dp.MLPClassifier(
            (5,), "silu", solver=dp.SGD(0.1, momentum=0.5, nesterov=False), loss="focal",
            learning_rate=dp.schedules.WarmUp(0.3, then=dp.schedules.Cosine(final=0.1)),
            **REFERENCE | {"max_iter": 8},
        ),
        "classes", goes_on=True,
    ),
    "classifier_xla": Fitted(
        dp.MLPClassifier(
            (5,), "tanh", solver=dp.AdamW(0.01, weight_decay=0.2),
            **REFERENCE | {"engine": dp.Xla(dtype="bfloat16", devices=1)},
        ),
        "two_words",
    ),
    "classifier_kfac": Fitted(
        dp.MLPClassifier(
            (4,), "tanh", solver=dp.KFAC(0.05, damping=0.1, every=2), **REFERENCE
        ),
        "three_words", goes_on=True,
    ),
    "regressor_quantiles": Fitted(
        dp.MLPRegressor(
            dp.losses.Quantile((0.1, 0.5, 0.9)), (5,), "tanh", solver=dp.Adam(0.02, beta_1=0.8),
            learning_rate=dp.schedules.OneCycle(peak=0.4), **REFERENCE,
        ),
        "numbers", goes_on=True,
    ),
    "regressor_lbfgs": Fitted(
        dp.MLPRegressor(
            "huber", (4,), "tanh", solver=dp.LBFGS(max_fun=500), **REFERENCE | {"max_iter": 9}
        ),
        "pairs",
    ),
    "regressor_gaussian": Fitted(
        dp.MLPRegressor(
            "gaussian_nll", (5,), ["softplus"], solver="sgd", nesterovs_momentum=False, alpha=0.01,
            learning_rate=dp.schedules.Adaptive(divisor=3.0), learning_rate_init=0.02, tol=10.0,
            n_iter_no_change=1, **REFERENCE | {"max_iter": 7},
        ),
        "numbers", goes_on=True, named=True,
    ),
    "regressor_random_state": Fitted(
        dp.MLPRegressor(
            "poisson", (5,), "elu", n_iter_no_change=np.inf, shuffle=True,
            learning_rate=dp.schedules.InverseScaling(0.4),
            **REFERENCE | {"random_state": np.random.RandomState(3)},
        ),
        "counts", goes_on=True, float32=True,
    ),
    "regressor_custom": Fitted(
        dp.MLPRegressor(
            FOURTH, (4, 3), [SINE, "relu"], learning_rate=dp.schedules.Constant(), **REFERENCE
        ),
        "numbers", goes_on=True,
    ),
}  # fmt: skip

SMALL = {"max_iter": 5, "batch_size": 16, "random_state": 0, "engine": "reference"}
# The defaults at that time; parameters that did not exist have those of today.
DEFAULTS = {
    "dropout": 0.0, "learning_rate_init": 0.002, "weight_decay": 0.01, "n_iter_no_change": 15,
    "learning_rate": "constant",
    **SMALL,
}  # fmt: skip
TABULARS = {
    "tabular_classifier": (dp.TabularClassifier((6, 4), **DEFAULTS), "kind"),
    "tabular_regressor": (
        dp.TabularRegressor((5,), "tanh", loss="gaussian_nll", **DEFAULTS), "price",
    ),
}  # fmt: skip

FACTS = (
    "classes_", "feature_names_in_", "n_features_in_", "n_outputs_", "n_layers_", "n_iter_", "t_",
    "out_activation_", "stop_reason_", "loss_", "best_loss_", "loss_curve_",
    "validation_loss_curve_", "validation_scores_", "best_validation_score_",
    "target_name_", "y_mean_", "y_scale_",
)  # fmt: skip


def facts(model: Any) -> dict[str, Any]:
    """The fitted attributes of an estimator that a file has to bring back as they were."""
    found = {name: getattr(model, name) for name in FACTS if hasattr(model, name)}
    if hasattr(model, "encoder_"):
        found["kinds"] = model.encoder_.kinds_
    return json.loads(json.dumps(found, default=lambda value: value.tolist()))


def estimator_outputs(model: Any, X: Any) -> dict[str, np.ndarray]:
    """What an estimator says of rows."""
    found = {"predict": model.predict(X)}
    if hasattr(model, "predict_proba"):
        found["predict_proba"] = model.predict_proba(X)
    if getattr(model, "loss", None) == "gaussian_nll":
        found["predict_std"] = model.predict(X, return_std=True)[1]
    return {
        name: value.astype(str) if value.dtype == object else value for name, value in found.items()
    }


# ---------------------------------------------------------------- searches


@dataclass(frozen=True)
class Search:
    """A training with checkpoints that is interrupted, and continues from the last of them.

    Attributes
    ----------
    net : Net
    settings : dict
        The arguments of ``dp.fit`` besides data and checkpoint.
    steps : int
        A checkpoint every so many steps. It does not divide the steps of an epoch, so that the
        newest checkpoint stands inside an epoch.
    cut : int or None
        The epoch after which the search is killed, without a further checkpoint.
    epochs : int or None
        In place of `cut`: the `max_epochs` with which the first part ends by itself.
    weighted, streamed : bool
        Whether the rows have weights; whether they come from the Parquet file.
    going_on : dict
        Arguments that the second part has in place of the first one's.
    """

    net: Net
    settings: dict[str, Any]
    steps: int = 3
    cut: int | None = 4
    epochs: int | None = None
    weighted: bool = False
    streamed: bool = False
    going_on: dict[str, Any] = field(default_factory=dict)

    def begin(self, folder: Path) -> dp.Network:
        """The first part, up to where it is cut off; its last checkpoint stays in the folder."""
        changes = {"callbacks": [Cut(self.cut)]} if self.cut else {"max_epochs": self.epochs}
        net = self.net.make(seed=0)
        self._run(net, folder, **changes)
        return net

    def go_on(self, folder: Path, **changes: Any) -> tuple[dp.Network, Any, list[int]]:
        """The second part: the network, the history, and the epochs that were run for it.

        The network starts from other weights than in the first part: whoever began anew, in place
        of going on, would end elsewhere.
        """
        net, seen = self.net.make(seed=1), []

        def see(epoch: Any) -> None:
            seen.append(epoch.epoch)

        history = self._run(net, folder, **{**self.going_on, "callbacks": [see], **changes})
        return net, history, seen

    def whole(self) -> dp.Network:
        """The network after both parts in one."""
        net = self.net.make(seed=0)
        self._run(net, None)
        return net

    def _run(self, net: dp.Network, folder: Path | None, **changes: Any) -> Any:
        settings = self.settings | changes
        if folder is not None:
            checkpoint = dp.Checkpoint(folder, seconds=None, steps=self.steps, keep=1)
            settings["checkpoint"] = checkpoint
        if self.streamed:
            return dp.fit(net, stream(), **settings)
        rows = data()
        if self.weighted:
            settings["sample_weight"] = rows["weights"]
        return dp.fit(net, rows["X"], rows[self.net.target], **settings)


class Cut:
    """A callback that ends the search as a kill would: nothing more is written down."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def __call__(self, event: Any) -> None:
        if event.epoch == self.epoch:
            raise KeyboardInterrupt


CLASSES = Net(
    (dp.Dense(5, "tanh", 0.2),), "softmax", 3, "cross_entropy", "classes", {"reduction": "mean"}
)
PLAIN = Net(("tanh",), "softmax", 3, "cross_entropy", "classes", {"l2": 0.01, "reduction": "mean"})
NUMBERS = Net(("tanh", "silu"), "identity", 1, "squared_error", "numbers", {"l2": 0.1})
SINGLE = Net(
    (dp.Dense(5, "gelu", 0.2), dp.Dense(4, "relu", 0.1)), "softmax", 3, "cross_entropy", "classes",
    {"reduction": "sklearn", "l2": 0.01, "dtype": "float32"},
)  # fmt: skip
BY_REFERENCE = {"engine": "reference", "batch_size": 8, "max_epochs": 7, "patience": np.inf}
BY_FUSED = BY_REFERENCE | {"engine": "fused", "n_threads": 1}
SEARCHES = {
    "reference_adam_dropout": Search(CLASSES, BY_REFERENCE | {"seed": 4}, weighted=True),
    "reference_more_epochs": Search(CLASSES, BY_REFERENCE, steps=4, cut=None, epochs=3),
    "reference_one_cycle": Search(
        PLAIN,
        BY_REFERENCE | {"solver": dp.SGD(0.1), "schedule": dp.schedules.OneCycle(), "clip_norm": 1},
    ),
    "reference_adaptive": Search(
        NUMBERS,
        BY_REFERENCE | {
            "solver": dp.AdamW(0.02), "schedule": dp.schedules.Adaptive(), "tol": 10.0,
            "patience": 1, "shuffle": False,
        },
    ),
    "reference_kfac": Search(PLAIN, BY_REFERENCE | {"solver": dp.KFAC(0.05, every=2)}),
    "reference_lbfgs": Search(
        NUMBERS, BY_REFERENCE | {"solver": dp.LBFGS(), "max_epochs": 9}, steps=3, cut=5
    ),
    # The second part is not told the seed of the noise, which has to come from the checkpoint.
    "reference_privacy": Search(
        PLAIN,
        BY_REFERENCE | {"privacy": dp.Privacy(noise=0.4, max_norm=0.5, seed=11)},
        going_on={"privacy": dp.Privacy(noise=0.4, max_norm=0.5)},
    ),
    # The best epoch lies before the cut, so that its θ has to come from the checkpoint.
    "reference_validation": Search(
        PLAIN,
        BY_REFERENCE | {"validation": 0.2, "restore_best": True, "solver": dp.Adam(0.5), "seed": 3},
    ),
    "fused_adam_dropout": Search(SINGLE, BY_FUSED),
    "fused_warm_up": Search(
        NUMBERS,
        BY_FUSED | {
            "solver": dp.SGD(0.005, nesterov=False),
            "schedule": dp.schedules.WarmUp(0.4, then=dp.schedules.Cosine(final=0.2)),
        },
        weighted=True,
    ),
    "fused_lbfgs": Search(
        PLAIN, BY_FUSED | {"solver": dp.LBFGS(), "max_epochs": 9}, steps=3, cut=5
    ),
    "fused_validation": Search(
        CLASSES, BY_FUSED | {"validation": 0.2, "restore_best": True, "solver": dp.Adam(0.02)}
    ),
    "stream_reference": Search(
        CLASSES, BY_REFERENCE | {"batch_size": 16, "validation": 0.25}, streamed=True
    ),
    "stream_fused": Search(
        CLASSES, BY_FUSED | {"batch_size": 25, "schedule": dp.schedules.InverseScaling()},
        steps=4, streamed=True,
    ),
    "xla_adam_dropout": Search(CLASSES, BY_REFERENCE | {"engine": dp.Xla(devices=1)}),
}  # fmt: skip

CLASSIFIER = "classifier"  # the checkpoint folder of an estimator


def classifier(folder: Path, callback: Callable[[Any], object]) -> Any:
    """An estimator with a checkpoint folder, before its fit to "three_words"."""
    return dp.MLPClassifier(
        (5,), "tanh", dropout=0.1, early_stopping=True, validation_fraction=0.2, tol=0.0,
        n_iter_no_change=20, batch_size=8, max_iter=7, learning_rate_init=0.05, random_state=0,
        engine="reference", callbacks=[callback],
        checkpoint=dp.Checkpoint(folder, seconds=None, steps=3, keep=1),
    )  # fmt: skip


def classifier_goes_on(folder: Path) -> tuple[Any, list[int]]:
    """The estimator after its second part, and the epochs that were run for it."""
    rows, seen = data(), []

    def see(epoch: Any) -> None:
        seen.append(epoch.epoch)

    return classifier(folder, see).fit(rows["X"], rows["three_words"]), seen


def search_outputs(net: dp.Network, history: Any) -> dict[str, np.ndarray]:
    """Parameters and curves at the end of a search."""
    found = {"theta": net.theta, "loss_curve": history.loss_curve}
    if history.validation_loss_curve is not None:
        found["validation_loss_curve"] = history.validation_loss_curve
    return {name: np.array(value) for name, value in found.items()}


def search_facts(search: Search, history: Any, seen: list[int]) -> dict[str, Any]:
    """Counts and words at the end of a search."""
    found = {
        "n_epochs": history.n_epochs, "stop_reason": history.stop_reason,
        "best_epoch": history.best_epoch, "seen": seen,
    }  # fmt: skip
    if "privacy" in search.settings:
        found["epsilon"] = history.epsilon(delta=1e-5)
    return found


def put(fixture: Path, folder: Path) -> None:
    """Copy the files of a checkpoint fixture to a folder, under the names that deltaprop reads."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in fixture.glob(f"*.dp{SUFFIX}"):
        shutil.copyfile(file, folder / file.name.removesuffix(SUFFIX))


# ---------------------------------------------------------------- writing


def write_data() -> None:
    rng = np.random.RandomState(0)
    N = 40
    X = rng.randn(N, 3).round(6)
    score = X @ [1.0, -0.7, 0.3] + 0.3 * rng.randn(N)
    classes = np.digitize(score, [-0.5, 0.6])
    numbers = (np.sin(score) + 0.2 * X[:, 2] + 0.1 * rng.randn(N)).round(6)
    np.savez_compressed(
        DATA, X=X, classes=classes, binary=(score > 0).astype(int), numbers=numbers,
        pairs=np.column_stack([numbers, (X[:, 0] * X[:, 1]).round(6)]),
        counts=rng.poisson(np.exp(0.5 * score)), amounts=np.exp(0.4 * score).round(6),
        labels=np.column_stack([score > 0, X[:, 1] > 0, X[:, 2] > 0.3]).astype(int),
        two_words=np.array(["no", "yes"])[(score > 0).astype(int)],
        three_words=np.array(["high", "low", "middle"])[(classes + 1) % 3],
        weights=np.where(np.arange(N) < 6, 0.0, 0.5 + rng.rand(N)).round(6),
    )  # fmt: skip


def write_table() -> None:
    rng = np.random.RandomState(1)
    N = 60
    size, garden = (40 + 100 * rng.rand(N)).round(1), rng.rand(N) > 0.5
    colour = rng.randint(4, size=N)
    days = pd.Timestamp("2021-01-01") + pd.to_timedelta(rng.randint(900, size=N), unit="D")
    years, months = rng.randint(1981, 1999, size=N), rng.randint(1, 9, size=N)
    price = (2.0 * size + 30 * garden + 10 * colour + 5 * rng.randn(N)).round(2)
    pd.DataFrame(
        {
            "size": np.where(rng.rand(N) < 0.15, np.nan, size),
            "rooms": rng.randint(1, 7, size=N),
            "colour": np.array(["red", "green", "blue", None], dtype=object)[colour],
            "built": [f"{year}-0{month}-15" for year, month in zip(years, months, strict=True)],
            "sold": days,
            "garden": garden,
            "note": [f"no {i} of {('elm', 'oak', 'ash')[i % 3]}" for i in rng.permutation(N)],
            "empty": np.nan,
            "kind": np.where(price > 250, "large", np.where(price > 170, "middle", "small")),
            "price": price,
        }
    ).to_csv(TABLE, index=False)


def write_stream() -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.RandomState(2)
    N = 120
    X = rng.randn(N, 3).round(6)
    columns = {f"x{j}": X[:, j] for j in range(3)}
    columns |= {
        "y": np.digitize(X @ [1.0, 1.0, -1.0], [-0.7, 0.7]),
        "w": 0.5 + rng.rand(N).round(6),
    }
    pq.write_table(pa.table(columns), STREAM, row_group_size=40)


def write_models(said: dict[str, Any]) -> None:
    arrays: dict[str, np.ndarray] = {}

    def keep(name: str, found: dict[str, np.ndarray]) -> None:
        arrays.update({f"{name}/{what}": value for what, value in found.items()})

    for name, described in NETWORKS.items():
        net, rows = described.make(), data()
        dp.fit(
            net, rows["X"], rows[described.target], solver=dp.Adam(0.02), engine="reference",
            batch_size=10, max_epochs=3,
        )  # fmt: skip
        dp.save(net, MODELS / f"{name}.dp{SUFFIX}")
        keep(name, {"theta": net.theta.copy(), **network_outputs(net, name)})
    for name, described in ESTIMATORS.items():
        model, (X, y) = described.fit(), described.rows()
        dp.save(model, MODELS / f"{name}.dp{SUFFIX}")
        keep(name, {"theta": model.network_.theta.copy(), **estimator_outputs(model, X)})
        said[name] = facts(model)
        if described.goes_on:
            model.partial_fit(X, y).partial_fit(X, y)
            keep(name, {"theta_later": model.network_.theta.copy()})
    for name, (unfitted, target) in TABULARS.items():
        frame, targets = table()
        model = clone(unfitted).fit(frame, targets[target])
        dp.save(model, MODELS / f"{name}.dp{SUFFIX}")
        keep(name, {"theta": model.mlp_.network_.theta.copy(), **estimator_outputs(model, frame)})
        new = estimator_outputs(model, new_rows())
        keep(name, {f"{what}_new": value for what, value in new.items()})
        said[name] = facts(model)
    np.savez_compressed(MODELS / "expected.npz", **arrays)


def write_checkpoints(said: dict[str, Any]) -> None:
    arrays: dict[str, np.ndarray] = {}
    for name, search in SEARCHES.items():
        fixture = CHECKPOINTS / name
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place)
            first = search.begin(folder)
            _take(folder, fixture)
        if search.epochs is not None:
            arrays[f"{name}/theta_before"] = first.theta
        with tempfile.TemporaryDirectory() as place:
            put(fixture, Path(place))
            net, history, seen = search.go_on(Path(place))
        with tempfile.TemporaryDirectory() as place:
            anew, _, _ = search.go_on(Path(place))
        whole = search.whole()
        lbfgs = isinstance(search.settings.get("solver"), dp.LBFGS)  # which loses its memory
        assert lbfgs or np.array_equal(net.theta, whole.theta), f"{name} went on elsewhere"
        assert not np.allclose(net.theta, anew.theta, rtol=0.01), f"{name} would pass begun anew"
        assert seen[0] > 1, f"{name} ran all epochs again"
        outputs = search_outputs(net, history)
        arrays.update({f"{name}/{what}": value for what, value in outputs.items()})
        said[name] = search_facts(search, history, seen)
    # The best θ has to come from the checkpoint in one search, and from the second part in another.
    best = {name: said[name]["best_epoch"] for name in ("reference_validation", "fused_validation")}
    assert best["reference_validation"] < SEARCHES["reference_validation"].cut, best
    assert best["fused_validation"] > SEARCHES["fused_validation"].cut, best

    with tempfile.TemporaryDirectory() as place:
        rows = data()
        classifier(Path(place), Cut(4)).fit(rows["X"], rows["three_words"])
        _take(Path(place), CHECKPOINTS / CLASSIFIER)
    with tempfile.TemporaryDirectory() as place:
        put(CHECKPOINTS / CLASSIFIER, Path(place))
        model, seen = classifier_goes_on(Path(place))
    arrays[f"{CLASSIFIER}/theta"] = model.network_.theta
    arrays[f"{CLASSIFIER}/predict_proba"] = model.predict_proba(rows["X"])
    said[CLASSIFIER] = {**facts(model), "seen": seen}
    np.savez_compressed(CHECKPOINTS / "expected.npz", **arrays)


def _take(folder: Path, fixture: Path) -> None:
    fixture.mkdir(parents=True)
    (file,) = folder.glob("checkpoint-*.dp")
    shutil.copyfile(file, fixture / f"{file.name}{SUFFIX}")


def main() -> None:
    for folder in (MODELS, CHECKPOINTS):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    write_data()
    write_table()
    write_stream()
    said: dict[str, Any] = {"models": {}, "checkpoints": {}, "written_with": written_with()}
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # of searches that were cut off, as they have to be
        write_models(said["models"])
        write_checkpoints(said["checkpoints"])
    EXPECTED.write_text(json.dumps(said, indent=1, sort_keys=True) + "\n")
    files = [file for file in HERE.rglob("*") if file.is_file() and file.suffix != ".pyc"]
    print(f"{len(files)} files, {sum(file.stat().st_size for file in files)} bytes")


def written_with() -> dict[str, str]:
    """The versions of deltaprop and other packages; the commit where it lies in a repository."""
    command = ["git", "-C", str(Path(dp.__file__).parent), "rev-parse", "HEAD"]
    commit = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    return {
        "deltaprop": dp.__version__, "commit": commit, "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        **{name: version(name) for name in PACKAGES},
    }  # fmt: skip


if __name__ == "__main__":
    main()
