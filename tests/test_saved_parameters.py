"""What `dp.save` writes, `dp.load` reads: the schema of model files accepts every legal value.

Legal is what the parameter constraints, the constructors and a short fit accept.
"""

import dataclasses
import inspect
import json
import math
from numbers import Number

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import make_scorer, r2_score
from sklearn.model_selection import TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.utils._param_validation import Interval, StrOptions

import deltaprop as dp
from deltaprop.files import ModelFileError
from deltaprop.files.classes import NAMED, _solvers_and_schedules, storable
from deltaprop.files.fields import PARAMETERS, require_fields, require_parameters
from deltaprop.storage.codec import Reader, Writer
from deltaprop.tables import TableEncoder

pytestmark = pytest.mark.filterwarnings("ignore")

RNG = np.random.default_rng(0)
N = 24
X, Y = RNG.normal(size=(N, 2)), RNG.normal(size=N)
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
QUICK = {"hidden_layer_sizes": (4,), "max_iter": 1, "activation": "tanh", "random_state": 0}
ESTIMATORS = ["MLPClassifier", "MLPRegressor", "TabularClassifier", "TabularRegressor"]


def is_regressor(kind):
    return kind.endswith("Regressor")


def decoded(value):
    """The value as it comes back from a file; TypeError if a file cannot contain it."""
    writer = Writer(storable)
    try:
        text = json.dumps(writer.encode(value, "value"), allow_nan=False)
    except ModelFileError as error:
        raise TypeError from error
    return Reader(writer.tensors, find_class=storable).decode(json.loads(text))


def again(model, path):
    dp.save(model, path / "model.dp")
    return dp.load(path / "model.dp")


def require_same(loaded, model, X):
    """The same predictions, up to the rounding of compiled code and equations."""
    np.testing.assert_allclose(loaded.predict(X), model.predict(X), rtol=1e-10)


def fitted(kind, **parameters):
    y = Y if is_regressor(kind) else Y > 0
    given = {"cv": 1} if kind.startswith("Tabular") else {}
    return getattr(dp, kind)(**QUICK | given | parameters).fit(FRAME, y)


def require_kept(kind, path, **parameters):
    """Fit, save, load: the parameters and the predictions are the same."""
    model = fitted(kind, **parameters)
    loaded = again(model, path)
    require_same(loaded, model, FRAME)
    return loaded


# ---------------------------------------------------------------- values next to the bounds


def values_within(constraints):
    """Values next to the bounds of these constraints, of several types."""
    found = [None, 0, 1, -1, 2, 0.0, 0.5, 1.0, True, False, math.inf, np.bool_(True)]
    found += ["auto", "loss", [0], (0, 1), [0.5], [True], {"a": 1.0}, {0: True}, {1}]
    found += [np.zeros(2), np.ones(2, int), np.array([True]), np.random.RandomState(0)]
    for each in constraints:
        if isinstance(each, Interval):
            for bound in (each.left, each.right):
                if bound is not None:
                    found += [bound, bound + 1, bound - 1, np.nextafter(bound, math.inf)]
            found += [20_000, 2**31, 1e300, 1e-300]
        elif isinstance(each, StrOptions):
            found += sorted(each.options)
    scalars = [v for v in found if type(v) in (int, float)]
    found += [np.int64(v) for v in scalars if isinstance(v, int) and abs(v) < 2**62]
    return [*found, *map(np.float64, scalars), *map(np.float32, scalars), np.uint8(1)]


PAIRS = [(list(range(12)), list(range(12, N))), (list(range(12, N)), list(range(12)))]
MASK = np.arange(N) < 12
MORE = {  # of which the constraints tell only the type
    "hidden_layer_sizes": [3, (3,), [3, 2], np.array([3, 2]), np.int64(3), range(2, 4)],
    "activation": ["relu", ["relu"], ("tanh",), np.array(["tanh"])],
    "dropout": [0, 0.1, [0.1], (np.float32(0.1),), np.array([0.5]), np.array([0]), False, [False]],
    "class_weight": [
        {False: 1.0, True: 2}, {0: 1, 1: True}, {0: np.float64(2), 1: np.bool_(True)},
        {np.bool_(False): 1, np.bool_(True): 0}, "balanced",
    ],
    "monotonic_cst": [
        [1.0, 0.0], np.array([1.0, 0]), [True, False], {"a": 1.0}, {"a": True}, [1, -1], (0, 0),
        np.array([True, False]), {"b": np.int8(-1)}, [np.float32(1), np.bool_(False)], {},
    ],
    "cv": [
        1, 2, 1001, 2000, np.int64(2), np.uint8(2), True, "auto", PAIRS, tuple(PAIRS),
        [(MASK.tolist(), (~MASK).tolist())], [(MASK, ~MASK)], np.array(PAIRS),
        [np.array(pair) for pair in PAIRS], np.array([(MASK, ~MASK)]), TimeSeriesSplit(2),
    ],
    "periodic_columns": [None, [0], (1,), np.array([0, 1]), {0}, range(2), []],
    "freeze": [None, [0], (0,), np.array([0]), {0}, range(1), [np.int64(0)], []],
}  # fmt: skip


@pytest.mark.parametrize("kind", ESTIMATORS)
def test_every_legal_value_of_a_parameter_is_accepted(kind):
    cls, n_accepted = getattr(dp, kind), 0
    for name, constraints in cls._parameter_constraints.items():
        for value in [*values_within(constraints), *MORE.get(name, ())]:
            if is_legal(cls, name, value):
                stored = decoded(value)
                require_parameters({name: stored})
                cls(**{name: stored})._validate_params()
                n_accepted += 1
    assert n_accepted > 300


def is_legal(cls, name, value):
    """Whether a file can contain it and it is valid; of some parameters only a fit tells it."""
    if isinstance(value, dict) and dict not in cls._parameter_constraints[name]:
        return False  # it counts as an array, that of its keys
    try:
        cls(**{name: value})._validate_params()
        decoded(value)
        if name in PARAMETERS:
            given = {"periodic": 1} if name == "periodic_columns" else {}
            if name == "hidden_layer_sizes" and isinstance(value, Number) and value > 100:
                return value < 10**8  # such a network is slow, or does not fit into the memory
            fitted(cls.__name__, **given, **{name: value})
    except (ValueError, TypeError):
        return False
    return True


@pytest.mark.parametrize("kind", ESTIMATORS)
@pytest.mark.parametrize("name", MORE)
def test_these_values_survive_saving_and_loading(kind, name, tmp_path):
    if name not in getattr(dp, kind)._parameter_constraints:
        return
    given = {"periodic": 1} if name == "periodic_columns" else {}
    n_legal = 0
    for value in MORE[name]:
        try:
            fitted(kind, **given, **{name: value})
        except ValueError:
            continue
        require_kept(kind, tmp_path, **given, **{name: value})
        n_legal += 1
    assert n_legal > len(MORE[name]) / 2


# ---------------------------------------------------------------- other objects in files


@pytest.mark.parametrize("name", [*sorted(_solvers_and_schedules()), "Privacy", "Xla"])
def test_every_legal_setting_of_a_solver_and_the_like_is_accepted(name):
    cls = storable(name).cls
    given = {"noise": 1.0} if name == "Privacy" else {}
    for field in dataclasses.fields(cls):
        for value in values_within(()):
            try:
                made = cls(**given | {field.name: value})
                decoded(value)
            except (ValueError, TypeError):
                continue
            assert decoded(made) == made


TRANSFORMERS = sorted(name for name, module in NAMED.items() if module.startswith("sklearn."))


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_every_legal_parameter_of_a_transformer_is_accepted(name):
    cls = storable(name).cls
    n_accepted = 0
    for parameter, constraints in cls._parameter_constraints.items():
        if parameter not in inspect.signature(cls).parameters:
            continue
        values = [*values_within(constraints), np.float64, np.dtype("f4"), float("nan")]
        for value in values:
            if isinstance(value, set):  # only the vocabulary of a vectorizer could be one
                continue
            try:
                made = cls(**{parameter: value})
                made._validate_params()
                stored = decoded(value)
            except (ValueError, TypeError):
                continue
            require_fields(name, cls(**{parameter: stored}))
            n_accepted += 1
    assert n_accepted


SEEDS = [None, 0, np.int64(3), True, np.random.RandomState(0)]


@pytest.mark.parametrize("seed", SEEDS, ids=map(str, SEEDS))
def test_the_random_state_of_an_encoder_is_any_that_it_accepts(seed, tmp_path):
    model = make_pipeline(TableEncoder(random_state=seed, n_bins=20_000), dp.MLPRegressor(**QUICK))
    model.fit(FRAME, Y)
    require_same(again(model, tmp_path), model, FRAME)


@pytest.mark.parametrize("kind", ["TabularClassifier", "TabularRegressor"])
@pytest.mark.parametrize("n_bins", [10_001, 20_000, np.int64(20_000)])
def test_any_number_of_bins_can_be_saved(kind, n_bins, tmp_path):
    require_kept(kind, tmp_path, n_bins=n_bins)


def test_a_pipeline_after_set_output_can_be_saved(tmp_path):
    for first in (TableEncoder(), *(storable(n).cls() for n in ("StandardScaler", "PCA"))):
        model = make_pipeline(first, dp.MLPRegressor(**QUICK)).set_output(transform="pandas")
        model.fit(FRAME, Y)
        loaded = again(model, tmp_path)
        require_same(loaded, model, FRAME)
        pd.testing.assert_frame_equal(loaded[0].transform(FRAME), model[0].transform(FRAME))


@pytest.mark.parametrize("name", ["PCA", "QuantileTransformer", "TruncatedSVD"])
def test_a_transformer_may_have_a_random_state(name, tmp_path):
    given = {"n_quantiles": 10} if name == "QuantileTransformer" else {"n_components": 1}
    seeded = storable(name).cls(random_state=np.random.RandomState(0), **given)
    model = make_pipeline(seeded, dp.MLPRegressor(**QUICK)).fit(X, Y)
    loaded = again(model, tmp_path)
    require_same(loaded, model, X)
    assert loaded[0].random_state.randint(10**6) == model[0].random_state.randint(10**6)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_a_transformer_of_an_old_file_may_hold_a_dtype_of_times(unit):
    to_datetime = storable("ToDatetime").cls()
    to_datetime.output_dtype_ = pd.DatetimeTZDtype(unit, "UTC")
    assert decoded(to_datetime).output_dtype_ == to_datetime.output_dtype_


@pytest.mark.parametrize(("inputs", "units"), [([-1, 0], [-1, 0, -1]), ([-(2**31), 5], [5, 5])])
def test_the_groups_of_a_layer_may_be_negative(inputs, units, tmp_path):
    layers = [dp.Dense(len(units), "tanh", groups=(inputs, units)), dp.Dense(1)]
    net = dp.Network(2, layers, loss="squared_error", seed=0)
    require_same(again(net, tmp_path), net, X)


# ---------------------------------------------------------------- what is not saved


def pairs():
    yield from PAIRS


@pytest.mark.parametrize("kind", ["TabularClassifier", "TabularRegressor"])
@pytest.mark.parametrize("cv", [TimeSeriesSplit(3), PAIRS, pairs], ids=["splitter", "rows", "made"])
def test_splitters_and_row_numbers_are_replaced_by_the_default(kind, cv, tmp_path):
    loaded = require_kept(kind, tmp_path, cv=cv() if callable(cv) else cv)
    assert loaded.cv == "auto"
    assert len(loaded.members_) > 1
    loaded.fit(FRAME, Y if is_regressor(kind) else Y > 0)


@pytest.mark.parametrize("cv", [1, 2, np.int64(2), 2000])
def test_a_number_of_folds_is_saved(cv, tmp_path):
    assert require_kept("TabularRegressor", tmp_path, cv=cv).cv == cv


def score(model, X, y):
    return r2_score(y, model.predict(X))


@pytest.mark.parametrize("scoring", [score, make_scorer(r2_score)], ids=["function", "scorer"])
def test_scorers_that_are_no_strings_are_replaced_by_the_default(scoring, tmp_path):
    loaded = again(dp.MLPRegressor(**QUICK, scoring=scoring).fit(X, Y), tmp_path)
    assert loaded.scoring is None
    kept = again(dp.MLPRegressor(**QUICK, scoring="r2").fit(X, Y), tmp_path)
    assert kept.scoring == "r2"


def test_files_with_row_numbers_of_earlier_versions_are_read():
    """They stored the `cv` that was given."""
    mask = (MASK, ~MASK)
    for cv in (PAIRS, np.array(PAIRS), [mask], [[m.tolist() for m in mask]], np.array([mask])):
        require_parameters({"cv": decoded(cv)})
    ragged = np.empty((1, 2), object)
    ragged[0, 0], ragged[0, 1] = np.arange(3), np.arange(3, 5)
    require_parameters({"cv": decoded(ragged)})
    for wrong in (1.5, [(0.5, 1)], [("a", "b")], -3, [-1]):
        with pytest.raises(ModelFileError, match="'cv' of its parameters"):
            require_parameters({"cv": wrong})


@pytest.mark.parametrize("value", [1, "yes", None, [True]])
def test_a_setting_that_is_true_or_false_is_nothing_else(value):
    for cls, name in [(dp.SGD, "nesterov"), (dp.KFAC, "nesterov"), (dp.Xla, "shared_rows")]:
        with pytest.raises(ValueError, match=f"{name} of {cls.__name__} must be True or False"):
            cls(**{name: value})
        cls(**{name: np.bool_(True)})
