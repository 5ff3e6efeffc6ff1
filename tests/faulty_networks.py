"""Trained networks to diagnose: healthy ones, and ones with a planted fault."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sklearn import datasets
from sklearn.model_selection import train_test_split

import deltaprop as dp

PENGUINS = Path(__file__).parents[1] / "data" / "penguins.csv"


def table(name: str, seed: int = 0, scaled: bool = True) -> tuple[Any, ...]:
    """Return X, X_held, y, y_held of a scikit-learn data set, standardised by default."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X, X_held, y, y_held = train_test_split(X, y, test_size=0.3, random_state=seed)
    if scaled and name == "digits":
        X, X_held = X / 16, X_held / 16
    elif scaled:
        mean, std = X.mean(axis=0), X.std(axis=0)
        X, X_held = (X - mean) / std, (X_held - mean) / std
    if name == "diabetes":
        mean, std = y.mean(), y.std()
        y, y_held = (y - mean) / std, (y_held - mean) / std
    return X, X_held, y, y_held


def classifier(name: str, *layers: dp.Dense, seed: int = 0, **settings: Any) -> tuple[Any, ...]:
    """Return an untrained softmax network for a data set, and X, X_held, y, y_held."""
    X, X_held, y, y_held = table(name, seed)
    H = int(y.max()) + 1
    net = dp.Network(
        X.shape[1], [*layers, dp.Dense(H, "softmax")], loss="cross_entropy", reduction="mean",
        seed=seed, **settings,
    )  # fmt: skip
    return net, X, X_held, y, y_held


# ---------------------------------------------------------------- healthy


def iris_adam(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("iris", seed)
    clf = dp.MLPClassifier((32,), learning_rate_init=0.01, random_state=seed).fit(X, y)
    return clf, X, y, None, (X_held, y_held)


def wine_tanh_sgd(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("wine", seed)
    clf = dp.MLPClassifier(
        (20, 20), "tanh", solver="sgd", learning_rate_init=0.05, max_iter=100, random_state=seed
    ).fit(X, y)
    return clf, X, y, None, (X_held, y_held)


def cancer_logistic_lbfgs(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("breast_cancer", seed)
    clf = dp.MLPClassifier((20,), "logistic", solver="lbfgs", alpha=1.0, random_state=seed).fit(
        X, y
    )
    return clf, X, y, None, (X_held, y_held)


def digits_defaults(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("digits", seed)
    clf = dp.MLPClassifier(random_state=seed).fit(X, y)
    return clf, X, y, None, (X_held, y_held)


def digits_gelu_recorded(seed: int = 0) -> tuple[Any, ...]:
    net, X, X_held, y, y_held = classifier(
        "digits",
        dp.Dense(64, "gelu"),
        dp.Dense(32, "gelu"),
        seed=seed,
        dtype="float32",
        init="he_uniform",
    )
    history = dp.fit(
        net, X, y, solver=dp.AdamW(0.002), schedule=dp.schedules.Cosine(), max_epochs=40,
        validation=(X_held, y_held), record=100,
    )  # fmt: skip
    return net, X, y, history, (X_held, y_held)


def diabetes_table(seed: int = 0) -> tuple[Any, ...]:
    data = datasets.load_diabetes(as_frame=True, scaled=False)
    X, X_held, y, y_held = train_test_split(
        data.data, data.target, test_size=0.3, random_state=seed
    )
    model = dp.TabularRegressor(random_state=seed).fit(X, y)
    return model, X, y, None, (X_held, y_held)


def diabetes_relu_sgd(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("diabetes", seed)
    net = dp.Network(10, [dp.Dense(16, "relu"), dp.Dense(1)], loss="huber", seed=seed, l2=0.1,
                     reduction="sklearn")  # fmt: skip
    history = dp.fit(
        net, X, y, solver=dp.SGD(0.01), batch_size=32, max_epochs=60, validation=0.2, record=50,
    )  # fmt: skip
    return net, X, y, history, (X_held, y_held)


def penguins_species(seed: int = 0) -> tuple[Any, ...]:
    frame = dp.tables.read_table(PENGUINS)
    frame, held = train_test_split(frame, test_size=0.3, random_state=seed)
    X, y = frame.drop(columns="species"), frame["species"]
    model = dp.TabularClassifier(random_state=seed).fit(X, y)
    return model, X, y, None, (held.drop(columns="species"), held["species"])


def penguins_mass(seed: int = 0) -> tuple[Any, ...]:
    frame = dp.tables.read_table(PENGUINS).dropna(subset="body_mass_g")
    frame, held = train_test_split(frame, test_size=0.3, random_state=seed)
    X, y = frame.drop(columns="body_mass_g"), frame["body_mass_g"]
    model = dp.TabularRegressor(random_state=seed, activation="mish").fit(X, y)
    return model, X, y, None, (held.drop(columns="body_mass_g"), held["body_mass_g"])


def wine_four_elu_layers(seed: int = 0) -> tuple[Any, ...]:
    net, X, X_held, y, y_held = classifier(
        "wine", *(dp.Dense(16, "elu") for _ in range(4)), seed=seed, l2=1e-3
    )
    history = dp.fit(net, X, y, solver=dp.Adam(0.003), batch_size=16, max_epochs=40, record=20)
    return net, X, y, history, (X_held, y_held)


def cancer_dropout_bce(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("breast_cancer", seed)
    net = dp.Network(
        30, [dp.Dense(32, "silu", dropout=0.2), dp.Dense(1, "logistic")],
        loss="binary_cross_entropy", seed=seed,
    )  # fmt: skip
    history = dp.fit(net, X, y, solver=dp.Adam(0.002), max_epochs=60, validation=0.2, record=25)
    return net, X, y, history, (X_held, y_held)


def iris_tanh_squared_error(seed: int = 0) -> tuple[Any, ...]:
    X, X_held, y, y_held = table("iris", seed)
    T, T_held = np.eye(3)[y], np.eye(3)[y_held]
    net = dp.Network(4, [dp.Dense(10, "tanh"), dp.Dense(3, "logistic")], loss="squared_error",
                     seed=seed)  # fmt: skip
    history = dp.fit(net, X, T, solver=dp.LBFGS(), max_epochs=30, record=5)
    return net, X, T, history, (X_held, T_held)


HEALTHY = (
    iris_adam, wine_tanh_sgd, cancer_logistic_lbfgs, digits_defaults, digits_gelu_recorded,
    diabetes_table, diabetes_relu_sgd, penguins_species, penguins_mass, wine_four_elu_layers,
    cancer_dropout_bce, iris_tanh_squared_error,
)  # fmt: skip


# ---------------------------------------------------------------- planted faults


def vanishing() -> tuple[Any, ...]:
    """Ten logistic layers (f′ ≤ 1/4) with weights that are too small to compensate."""
    net, X, _, y, _ = classifier("iris", *(dp.Dense(8, "logistic") for _ in range(10)))
    history = dp.fit(net, X, y, solver=dp.SGD(0.01), max_epochs=20, record=5)
    return net, X, y, history, None


def exploding() -> tuple[Any, ...]:
    """Ten ReLU layers that start with weights three times too large."""
    net, X, _, y, _ = classifier("iris", *(dp.Dense(16, "relu") for _ in range(10)),
                                 init="he_uniform")  # fmt: skip
    net.theta *= 3
    history = dp.fit(net, X, y, solver=dp.SGD(1e-6), clip_norm=1.0, max_epochs=5)
    return net, X, y, history, None


def dead() -> tuple[Any, ...]:
    """Biases so low that ReLUs are 0 on every row and get no gradient."""
    net, X, _, y, _ = classifier("wine", dp.Dense(20, "relu"))
    net.b[0][:15] = -30
    history = dp.fit(net, X, y, solver=dp.Adam(0.01), max_epochs=100, record=20)
    return net, X, y, history, None


def saturated() -> tuple[Any, ...]:
    """tanh units that start with weights a hundred times too large."""
    net, X, _, y, _ = classifier("digits", dp.Dense(30, "tanh"))
    net.W[0][...] *= 100
    history = dp.fit(net, X, y, solver=dp.SGD(0.01), max_epochs=10)
    return net, X, y, history, None


def saturated_outputs() -> tuple[Any, ...]:
    """A logistic output with the squared error that starts confident and wrong."""
    X, _, y, _ = table("breast_cancer")
    net = dp.Network(30, [dp.Dense(10, "tanh"), dp.Dense(1, "logistic")], loss="squared_error",
                     reduction="mean", seed=0)  # fmt: skip
    net.b[-1][...] = -15
    history = dp.fit(net, X, y, solver=dp.SGD(0.1), max_epochs=30)
    return net, X, y, history, None


def confident_and_wrong() -> tuple[Any, ...]:
    """A softmax output that starts confident and is hardly trained."""
    net, X, _, y, _ = classifier("iris", dp.Dense(10, "tanh"))
    net.W[-1][...] *= 50
    history = dp.fit(net, X, y, solver=dp.SGD(1e-3), max_epochs=3)
    return net, X, y, history, None


def too_high() -> tuple[Any, ...]:
    """Adam at a thousand times its usual rate; the jumps also drive units into saturation."""
    net, X, _, y, _ = classifier("digits", dp.Dense(20, "tanh"))
    history = dp.fit(net, X, y, solver=dp.Adam(1.0), batch_size=32, max_epochs=40,
                     patience=np.inf, record=100)  # fmt: skip
    return net, X, y, history, None


def too_high_sgd() -> tuple[Any, ...]:
    X, _, y, _ = table("diabetes")
    net = dp.Network(10, [dp.Dense(16, "leaky_relu"), dp.Dense(1)], loss="huber", seed=0,
                     reduction="mean")  # fmt: skip
    history = dp.fit(net, X, y, solver=dp.SGD(3.0), max_epochs=50, patience=np.inf)
    return net, X, y, history, None


def too_low() -> tuple[Any, ...]:
    net, X, _, y, _ = classifier("wine", dp.Dense(20, "relu"))
    history = dp.fit(net, X, y, solver=dp.SGD(1e-5), max_epochs=50, patience=np.inf, record=10)
    return net, X, y, history, None


def unscaled() -> tuple[Any, ...]:
    """Unscaled columns: areas next to fractions."""
    X, _, y, _ = table("breast_cancer", scaled=False)
    clf = dp.MLPClassifier((20,), "leaky_relu", max_iter=50, random_state=0).fit(X, y)
    return clf, X, y, None, None


def leaking() -> tuple[Any, ...]:
    """A column that is y in other units, with a little noise."""
    X, _, y, _ = table("diabetes")
    leak = 3 * y + np.random.default_rng(0).normal(scale=0.01, size=len(y))
    X = np.column_stack([X, leak / leak.std()])
    net = dp.Network(11, [dp.Dense(20, "tanh"), dp.Dense(1)], loss="squared_error", seed=0)
    history = dp.fit(net, X, y, solver=dp.Adam(0.01), max_epochs=60)
    return net, X, y, history, None


def leaking_class() -> tuple[Any, ...]:
    X, _, y, _ = table("wine")
    X = np.column_stack([X, y + np.random.default_rng(0).normal(scale=0.05, size=len(y))])
    clf = dp.MLPClassifier((20,), learning_rate_init=0.01, max_iter=60, random_state=0).fit(X, y)
    return clf, X, y, None, None


def overfitted() -> tuple[Any, ...]:
    """A thousand units that memorise the random labels of forty rows."""
    X, X_held, y, y_held = table("breast_cancer")
    rng = np.random.default_rng(0)
    y, y_held = rng.integers(0, 2, 40), rng.integers(0, 2, len(y_held))
    net = dp.Network(30, [dp.Dense(1000, "relu"), dp.Dense(2, "softmax")], loss="cross_entropy",
                     reduction="mean", seed=0)  # fmt: skip
    history = dp.fit(net, X[:40], y, solver=dp.Adam(0.003), max_epochs=100)
    return net, X[:40], y, history, (X_held, y_held)


def overfitted_curve() -> tuple[Any, ...]:
    """Overfitting that is visible in the validation curve only."""
    X, X_held, y, y_held = table("diabetes")
    net = dp.Network(10, [dp.Dense(200, "relu"), dp.Dense(200, "relu"), dp.Dense(1)],
                     loss="squared_error", reduction="mean", init="he_uniform", seed=0)  # fmt: skip
    history = dp.fit(net, X[:100], y[:100], solver=dp.Adam(0.003), max_epochs=150, tol=0,
                     validation=(X_held, y_held), restore_best=False)  # fmt: skip
    return net, X[:100], y[:100], history, None


def plateau() -> tuple[Any, ...]:
    """XOR without a hidden layer."""
    rng = np.random.default_rng(0)
    X = rng.choice([-1.0, 1.0], size=(400, 2))
    y = (X[:, 0] * X[:, 1] > 0).astype(int)
    net = dp.Network(2, [dp.Dense(1, "logistic")], loss="binary_cross_entropy", reduction="mean",
                     seed=0)  # fmt: skip
    history = dp.fit(net, X, y, solver=dp.Adam(0.05), max_epochs=60, patience=np.inf)
    return net, X, y, history, None


# The fault and its layer, and other faults that may be reported because they follow from it.
FAULTY = {
    vanishing: ("vanishing error signals", 5, ()),
    exploding: ("exploding error signals", 3, ()),
    dead: ("dead units", 0, ()),
    saturated: ("saturated units", 0, ()),
    saturated_outputs: ("saturated outputs", 1, ()),
    confident_and_wrong: ("saturated outputs", 1, ()),
    too_high: ("learning rate too high", None, ("saturated units", "saturated outputs")),
    too_high_sgd: ("learning rate too high", None, ()),
    too_low: ("learning rate too low", None, ()),
    unscaled: ("unscaled inputs", 0, ()),
    leaking: ("label leakage", None, ()),
    leaking_class: ("label leakage", None, ()),
    overfitted: ("overfitting", None, ()),
    overfitted_curve: ("overfitting", None, ()),
    plateau: ("plateau", None, ()),
}
