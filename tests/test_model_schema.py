"""Every field of every part of a model file: a value of a wrong type, shape or range is refused.

The fields are those of real files of every kind, so that a new one is tested without being named.
"""

import copy
import dataclasses
import json
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import decomposition, feature_selection, impute, pipeline, preprocessing

import deltaprop as dp
from deltaprop.files import ModelFileError
from deltaprop.files.classes import NAMED, storable
from deltaprop.files.fields import FITTED, OWN
from deltaprop.storage.format import MAX_VALUES, pack, unpack

pytestmark = pytest.mark.filterwarnings("ignore")

OLD = Path("tests/compatibility/models")
N = 60
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(N, 4)), RNG.normal(size=N)
FRAME = pd.DataFrame(
    {
        "number": X[:, 0],
        "gaps": np.where(X[:, 1] > 0, np.nan, X[:, 1]),
        "word": np.where(X[:, 2] > 0, "ant", "bee"),
        "date": pd.Timestamp("2020-01-01", tz="UTC") + pd.to_timedelta(1000 * X[:, 3], unit="h"),
        "duration": pd.to_timedelta(100 * X[:, 1], unit="h"),
        "text": [f"row {n} of the {'red' if n % 2 else 'blue'} book {n * n}" for n in range(N)],
        "constant": 1,
    }
)
SMALL = {"hidden_layer_sizes": (5,), "max_iter": 3, "random_state": 0}
ALIEN = {"$set": ["alien"]}  # no field is a set


def transformers():
    """One pipeline step of each kind that files may contain."""
    p = preprocessing
    return pipeline.make_pipeline(
        impute.SimpleImputer(add_indicator=True), feature_selection.VarianceThreshold(),
        p.StandardScaler(), p.MinMaxScaler(), p.MaxAbsScaler(), p.RobustScaler(), p.Normalizer(),
        p.QuantileTransformer(n_quantiles=10), p.PowerTransformer(), decomposition.PCA(3),
        decomposition.TruncatedSVD(2), dp.MLPRegressor(**SMALL),
    )  # fmt: skip


MODELS = {
    "Network": lambda: dp.Network(
        3, [dp.Dense(4, "gelu", input_scale=True), dp.Dense(2, "softmax")], loss="focal", seed=0
    ),
    "MLPClassifier": lambda: dp.MLPClassifier(
        **SMALL, early_stopping=True, solver=dp.AdamW(), class_weight={0: 1.0, 1: 2.0},
        learning_rate=dp.schedules.WarmUp(0.1, dp.schedules.Cosine()),
    ).fit(X, X[:, 0] > 0),
    "MLPRegressor": lambda: dp.MLPRegressor(**SMALL, solver=dp.KFAC()).fit(X, Y),
    "private": lambda: dp.MLPRegressor(**SMALL, privacy=dp.Privacy(2.0)).fit(X, Y),
    "TabularClassifier": lambda: dp.TabularClassifier(
        **SMALL, cv=2, n_bins=3, decision_threshold="accuracy"
    ).fit(FRAME, pd.Series(FRAME["number"] > 0, name="y")),
    "TabularRegressor": lambda: dp.TabularRegressor(**SMALL, cv=2).fit(FRAME, Y),
    "Pipeline": lambda: transformers().fit(np.where(X > 1.5, np.nan, X), Y),
}  # fmt: skip
OLDER = {"old TabularClassifier": "tabular_classifier", "old TabularRegressor": "tabular_regressor"}


class File:
    """A model file that can be changed."""

    def __init__(self, path):
        metadata, self.tensors = unpack(path.read_bytes())
        self.header = json.loads(metadata["deltaprop"])
        self._path = path.with_name("changed.dp")

    def with_field(self, path, value):
        """The file with another value at this path of the header."""
        changed = copy.deepcopy(self.header)
        place = changed
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = value
        return self._written(changed, self.tensors)

    def with_tensor(self, name, tensor):
        return self._written(self.header, self.tensors | {name: np.ascontiguousarray(tensor)})

    def _written(self, header, tensors):
        used = json.dumps(header)
        tensors = {name: t for name, t in tensors.items() if f'"{name}"' in used}
        self._path.write_bytes(pack(tensors, {"deltaprop": used}))
        return self._path


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    made = {}

    def file(name):
        if name not in made:
            path = tmp_path_factory.mktemp("schema") / "model.dp"
            if name in OLDER:
                path.write_bytes((OLD / f"{OLDER[name]}.dp.bin").read_bytes())
            else:
                dp.save(MODELS[name](), path)
            made[name] = File(path)
        return made[name]

    return file


def fields(value, path=()):
    """The paths of all values in the header; of the items of a list, only the first and last."""
    if path:
        yield path, value
    if isinstance(value, dict):
        for key, item in value.items():
            yield from fields(item, (*path, key))
    elif isinstance(value, list) and value:
        for i in sorted({0, len(value) - 1}):
            yield from fields(value[i], (*path, i))


def all_fields(file):
    return fields(file.header["model"], ("model",))


def is_key(path):
    """Whether this is the key of an entry of a dictionary, or a part of a state by scikit-learn."""
    return len(path) > 2 and path[-3] == "$dict" and path[-1] == 0


def rows(name, model):
    if "Tabular" not in name:
        return np.ones((2, 4 if name != "Network" else 3))
    return pd.DataFrame({c: FRAME[c].head(2) for c in FRAME} if "old" not in name else
                        {c: [None, "1"] for c in model.encoder_.columns_})  # fmt: skip


def predictions(name, file):
    model = dp.load(file.with_field(("kind",), file.header["kind"]))
    return model.predict(rows(name, model))


def require_refused_or_harmless(name, path, expected):
    """ModelFileError, or the same predictions: of a counter, or a curve."""
    try:
        model = dp.load(path)
    except ModelFileError:
        return
    np.testing.assert_array_equal(model.predict(rows(name, model)), expected)


def accepted(file, values, name):
    """The fields for which a file with another value is loaded.

    The objects of skrub in old files do not check parameters that only their fit needs: these must
    have no effect.
    """
    found, expected = [], None
    for path, value in values:
        changed = file.with_field(path, value)
        if name in OLDER and set(path) & {"chains_", "imputer_", "scaler_"}:
            expected = predictions(name, file) if expected is None else expected
            require_refused_or_harmless(name, changed, expected)
            continue
        try:
            dp.load(changed)
        except ModelFileError:
            continue
        found.append((path, value))
    return found


QUICK = ["Network", "MLPClassifier", "MLPRegressor"]
ALL = [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in (*MODELS, *OLDER)]


@pytest.mark.parametrize("name", ALL)
def test_a_value_of_an_alien_type_is_refused_in_every_field(name, files):
    file = files(name)
    assert sum(1 for _ in all_fields(file)) > 20
    assert accepted(file, ((path, ALIEN) for path, _ in all_fields(file)), name) == []


FREE = {"classes_", "missing_values", "y_mean_", "y_scale_"}  # values of the tables
WRONG = {str: -0.5, bool: "alien", int: "alien", float: "alien", dict: "alien", list: {"a": 1}}


@pytest.mark.parametrize("name", ALL)
def test_a_number_for_a_text_and_the_like_is_refused_in_every_field(name, files):
    def wrong(file):
        for path, value in all_fields(file):
            if type(value) in WRONG and not FREE.intersection(path) and not is_key(path):
                yield path, WRONG[type(value)]

    assert accepted(files(name), wrong(files(name)), name) == []


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("value", [-5, 10**15, -1e300, {"$float": "nan"}], ids=str)
def test_a_number_out_of_range_is_refused_or_harmless_in_every_field(name, value, files):
    file = files(name)
    expected = predictions(name, file)
    for path, old in all_fields(file):
        if type(old) in (int, float) and not FREE.intersection(path):
            changed = file.with_field(path, value)
            require_refused_or_harmless(name, changed, expected)


SHAPES = {
    "another axis": lambda t: t[None],
    "no axis": lambda t: t.ravel()[:1].reshape(()),
    "no entries": lambda t: t[:0],
    "one entry more": lambda t: np.concatenate([t, t[-1:]]),
    "one entry less": lambda t: t[:-1],
    "complex": lambda t: t.astype(np.float64).view(np.uint8),
    "booleans": lambda t: t.astype(bool),
}


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", SHAPES)
def test_an_array_of_another_shape_or_dtype_is_refused_or_harmless(name, shape, files):
    file = files(name)
    expected = predictions(name, file)
    for tensor, content in file.tensors.items():
        if content.size and content.ndim and content.dtype != bool:
            changed = file.with_tensor(tensor, SHAPES[shape](content))
            require_refused_or_harmless(name, changed, expected)


@pytest.mark.parametrize("name", ALL)
def test_an_unknown_field_is_refused_in_every_part(name, files):
    file = files(name)
    parts = [path for path, value in all_fields(file) if path[-1] in ("state", "fitted", "config")]
    parts += [path for path, _ in all_fields(file) if path[-1] == "parameters"]
    assert parts
    for path in parts:
        with pytest.raises(ModelFileError):
            dp.load(file.with_field((*path, "alien attribute"), 1))
        if path[-1] != "state":
            with pytest.raises(ModelFileError):
                dp.load(file.with_field((*path, "alien"), 1))


def test_the_classes_of_this_package_have_all_of_their_fields_in_the_schema():
    ours = {name for name, module in NAMED.items() if module.startswith("deltaprop.")}
    assert ours - set(OWN) == {"Xla", "Privacy"}  # which check themselves
    for name in OWN:
        cls = storable(name).cls
        annotated = dataclasses.fields(cls) if dataclasses.is_dataclass(cls) else ()
        assert {field.name for field in annotated} <= set(OWN[name])


# ---------------------------------------------------------------- one budget


def refused(file, path, value, match):
    with pytest.raises(ModelFileError, match=match):
        dp.load(file.with_field(path, value))


def test_keys_with_slow_hashes_share_one_limit(files):
    """Each dictionary alone would be within its limit."""
    keys = [[n * (2**61 - 1), None] for n in range(1500)]
    parameter = ("model", "parameters", "verbose")
    refused(files("MLPRegressor"), parameter, [{"$dict": keys}] * 30, "keys that are not strings")


def test_a_header_of_millions_of_numbers_is_refused_before_it_is_read(tmp_path):
    header = b'{"__metadata__":{"deltaprop":"' + b"1," * (MAX_VALUES + 1) + b'"}}'
    (tmp_path / "m.dp").write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(ModelFileError, match="too many values"):
        dp.load(tmp_path / "m.dp")


@pytest.mark.parametrize("dtype", ["<U1000000000", "|S1000000000", "|V99999999999"])
def test_a_dtype_whose_items_fill_the_memory_is_refused(dtype, files):
    for value in ({"$dtype": dtype}, {"$type": dtype}, {"$scalar": 1, "dtype": dtype}):
        refused(
            files("MLPRegressor"),
            ("model", "parameters", "verbose"),
            value,
            "dtype|data type|memory",
        )


def test_a_network_of_thousands_of_layers_is_refused(files):
    file = files("Network")
    layers = [{"units": 1, "activation": "tanh", "dropout": 0.0}] * 20_000
    refused(file, ("model", "config", "layers"), layers, "'layers' of its network")


@pytest.mark.parametrize("kind", FITTED)
def test_the_attributes_of_estimators_are_all_in_the_schema(kind):
    assert set(getattr(dp, kind)._saved_attributes) <= set(FITTED[kind])
