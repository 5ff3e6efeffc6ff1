"""dp.fit_many and dp.cross_validate on threads."""

import signal
import threading
import time

import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score

import deltaprop as dp
from deltaprop.engines.fused import processors

X, y = load_iris(return_X_y=True)
rng = np.random.RandomState(0)


def network(seed):
    layers = [dp.Dense(20, "relu"), dp.Dense(3, "softmax")]
    return dp.Network(4, layers, loss="cross_entropy", reduction="mean", seed=seed)


@pytest.mark.parametrize("engine", ["fused", "reference"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_fit_many_matches_separate_fits(n_jobs, engine):
    together, alone = [network(s) for s in range(5)], [network(s) for s in range(5)]
    rows = [rng.randint(150, size=100) for _ in range(5)]  # with replacement
    settings = {"max_epochs": 5, "batch_size": 20, "engine": engine}
    histories = dp.fit_many(together, X, y, rows=rows, n_jobs=n_jobs, **settings)
    for one, other, part, history in zip(together, alone, rows, histories, strict=True):
        separate = dp.fit(other, X[part], y[part], n_threads=1, **settings)
        np.testing.assert_array_equal(one.theta, other.theta)
        assert history.loss_curve == separate.loss_curve


@pytest.mark.parametrize("solver", [dp.LBFGS(), dp.Adam(0.01)])
@pytest.mark.parametrize("validation", [None, 0.2])
def test_rows_are_read_in_place(solver, validation):
    part = np.arange(0, 150, 2)
    found = []
    for data in ((X, y, part), (X[part], y[part], None)):
        net = network(0)
        dp.fit(net, *data[:2], rows=data[2], solver=solver, max_epochs=5, validation=validation)
        found.append(net.theta)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-10)


@pytest.mark.parametrize("rows", [[], [[0, 1]], [0.5], [-1], [150], "ab"])
def test_invalid_rows_are_rejected(rows):
    with pytest.raises(ValueError, match="rows must"):
        dp.fit(network(0), X, y, rows=rows)


def test_fit_many_trains_estimators_and_checks_arguments():
    models = [dp.MLPClassifier(5, max_iter=20, random_state=s) for s in range(3)]
    fitted = dp.fit_many(models, X, y, rows=[np.arange(0, 150, k + 1) for k in range(3)])
    assert fitted == models
    alone = clone(models[1]).fit(X[::2], y[::2])
    np.testing.assert_array_equal(models[1].predict_proba(X), alone.predict_proba(X))
    with pytest.raises(ValueError, match="more than once"):
        dp.fit_many([models[0], models[0]], X, y)
    with pytest.raises(ValueError, match="2 entries for 1"):
        dp.fit_many(models[:1], X, y, rows=[[0], [1]])
    with pytest.raises(ValueError, match="NaN"):
        dp.fit_many(models, X * np.nan, y)


def test_cross_validate_matches_scikit_learn():
    models = [dp.MLPClassifier(5, max_iter=20, random_state=0, alpha=a) for a in (0.1, 10.0)]
    scores = dp.cross_validate(models, X, y, cv=3, scoring="balanced_accuracy")
    for row, model in zip(scores, models, strict=True):
        theirs = cross_val_score(model, X, y, cv=3, scoring="balanced_accuracy")
        np.testing.assert_allclose(row, theirs)
        assert not hasattr(model, "coefs_")
    bad = dp.MLPClassifier(5, learning_rate_init=-1)
    with pytest.warns(UserWarning, match="failed on fold"):
        scores = dp.cross_validate([bad, models[0]], X, y, cv=3)
    assert np.isnan(scores[0]).all()
    assert np.isfinite(scores[1]).all()


def test_inside_a_parallel_job_one_thread_is_used():
    assert Parallel(2, backend="threading")(delayed(processors.available)() for _ in range(2)) == [
        1,
        1,
    ]


def test_grid_search_and_bagging_on_threads():
    import joblib

    with joblib.parallel_config("threading", n_jobs=2):
        grid = GridSearchCV(dp.MLPClassifier(8, max_iter=200, random_state=0), {"alpha": [1e-4, 1]})
        grid.fit(X, y)
        bag = BaggingClassifier(dp.MLPClassifier(8, max_iter=200), 4, random_state=0).fit(X, y)
    assert grid.best_score_ > 0.5
    assert bag.score(X, y) > 0.5


@pytest.mark.filterwarnings("ignore:Training interrupted")
def test_ctrl_c_stops_all_fits():
    nets = [network(s) for s in range(4)]
    timer = threading.Timer(0.5, signal.raise_signal, [signal.SIGINT])
    started = time.perf_counter()
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        dp.fit_many(nets, X, y, max_epochs=10**7, patience=np.inf, n_jobs=2)
    timer.join()
    time.sleep(0.5)
    assert time.perf_counter() - started < 30
    thetas = [net.theta.copy() for net in nets]
    time.sleep(0.3)
    for net, theta in zip(nets, thetas, strict=True):  # no thread continues to train
        np.testing.assert_array_equal(net.theta, theta)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_interruption_of_one_model_ends_all(n_jobs):
    def interrupt(event):
        if event.epoch == 2:
            raise KeyboardInterrupt

    models = [
        dp.Network(4, [dp.Dense(3, "tanh"), dp.Dense(1)], loss="squared_error", seed=s)
        for s in range(6)
    ]
    before = [net.theta.copy() for net in models]
    X = np.random.default_rng(0).normal(size=(50, 4))
    with pytest.raises(KeyboardInterrupt), pytest.warns(UserWarning, match="interrupted") as shown:
        dp.fit_many(models, X, X[:, 0], n_jobs=n_jobs, max_epochs=1000, callbacks=[interrupt])
    assert {warning.filename for warning in shown} == {__file__}
    assert len(shown) <= n_jobs
    assert any((net.theta == old).all() for net, old in zip(models, before, strict=True))
