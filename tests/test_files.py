"""Model files: saving and loading keeps models, and invalid files are rejected."""

import errno
import inspect
import json
import os
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load as from_bytes
from safetensors.numpy import save as to_bytes

import deltaprop as dp
from deltaprop.files import ModelFileError, describe
from deltaprop.files.classes import storable
from deltaprop.optim import natural_gradient, schedules, solvers
from deltaprop.optim.schedules import Schedule
from deltaprop.optim.solvers import Solver
from deltaprop.storage.places import unwritable

rng = np.random.RandomState(0)
X = rng.randn(60, 3)
LABELS = {
    "words": np.array(["a", "b", "c"])[rng.randint(3, size=60)],
    "objects": np.array(["a", "b"], dtype=object)[rng.randint(2, size=60)],
    "integers": rng.randint(3, size=60),
    "booleans": rng.rand(60) > 0.5,
    "many": rng.rand(60, 3) > 0.5,
}


@pytest.fixture
def table():
    n = 60
    return pd.DataFrame(
        {
            "size": np.where(rng.rand(n) > 0.1, rng.rand(n), np.nan),
            "colour": np.array(["red", "blue", None], dtype=object)[rng.randint(3, size=n)],
            "when": pd.date_range("2021-01-01", periods=n).astype(str),
            "stamp": pd.date_range("2021-01-01", periods=n, tz="Europe/Paris"),
            "note": [f"some words {i}" for i in range(n)],
            "y": rng.rand(n),
        }
    )


@pytest.mark.parametrize("labels", LABELS)
def test_a_saved_classifier_is_bit_equal_and_continues_training(labels, tmp_path):
    y = LABELS[labels]
    model = dp.MLPClassifier(8, max_iter=5, random_state=0, dropout=0.2).fit(X, y)
    dp.save(model, tmp_path / "m.dp")
    loaded = dp.load(tmp_path / "m.dp")
    np.testing.assert_array_equal(loaded.predict_proba(X), model.predict_proba(X))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert loaded.loss_curve_ == model.loss_curve_
    assert loaded.get_params() == model.get_params()
    model.partial_fit(X, y)
    loaded.partial_fit(X, y)
    np.testing.assert_array_equal(loaded.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": dp.losses.Quantile((0.1, 0.9))},
        {"loss": "gaussian_nll", "activation": ["gelu", "mish"], "hidden_layer_sizes": (4, 3)},
        {"solver": dp.SGD(0.1), "learning_rate": dp.schedules.WarmUp(then=dp.schedules.Cosine())},
        {"random_state": np.random.RandomState(3), "n_iter_no_change": np.inf},
    ],
)
def test_a_regressor_keeps_its_settings(settings, tmp_path):
    model = dp.MLPRegressor(max_iter=3, **settings).fit(X, X[:, 0] ** 2 + 1)
    dp.save(model, tmp_path / "m.dp")
    loaded = dp.load(tmp_path / "m.dp")
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))
    assert repr(loaded)[:60] == repr(model)[:60]


def test_preprocessing_of_tables_is_restored(table, tmp_path):
    model = dp.TabularRegressor(max_iter=3, random_state=0).fit(table.drop(columns="y"), table["y"])
    dp.save(model, tmp_path / "m.dp")
    loaded = dp.load(tmp_path / "m.dp")
    new = table.assign(colour="unseen", size=None, when="never").drop(columns="y")
    for rows in (table, new):
        np.testing.assert_array_equal(loaded.predict(rows), model.predict(rows))


def test_every_kind_of_category_is_restored(tmp_path):
    n = 60
    X = pd.DataFrame(
        {
            "year": pd.Categorical(2000 + rng.randint(3, size=n)),
            "flag": np.array([True, False, None], dtype=object)[rng.randint(3, size=n)],
            "word": np.array(["a", "b", None], dtype=object)[rng.randint(3, size=n)],
            "two": np.array(["x", "y"], dtype=object)[rng.randint(2, size=n)],
            "wait": pd.to_timedelta(rng.randint(100, size=n), unit="h"),
        }
    )
    model = dp.TabularRegressor(4, max_iter=2, random_state=0).fit(X, rng.rand(n))
    dp.save(model, tmp_path / "m.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "m.dp").predict(X), model.predict(X))


def test_loading_custom_functions_requires_custom(tmp_path):
    sine = dp.Activation("sine", lambda a, xp: xp.sin(a), lambda a, z, xp: xp.cos(a))
    fourth = dp.Loss("fourth", lambda t, o, xp: (o - t) ** 4, lambda t, o, xp: 4 * (o - t) ** 3)
    net = dp.Network(3, [dp.Dense(2, sine), dp.Dense(1)], loss=fourth, dtype="float32", seed=0)
    dp.save(net, tmp_path / "n.dp")
    with pytest.raises(ModelFileError, match=r"'sine'.*custom="):
        dp.load(tmp_path / "n.dp")
    loaded = dp.load(tmp_path / "n.dp", custom={"sine": sine, "fourth": fourth})
    np.testing.assert_array_equal(loaded.predict(X), net.predict(X))
    estimator = dp.MLPRegressor(fourth, 4, sine, max_iter=2).fit(X, X[:, 0])
    dp.save(estimator, tmp_path / "e.dp")
    loaded = dp.load(tmp_path / "e.dp", custom={"sine": sine, "fourth": fourth})
    np.testing.assert_array_equal(loaded.predict(X), estimator.predict(X))


# ---------------------------------------------------------------- invalid files


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "good.dp"
    dp.save(dp.MLPClassifier(4, max_iter=2, random_state=0).fit(X, LABELS["words"]), path)
    return path


def rewritten(good, path, change):
    """Write the good file with its header changed by `change`, otherwise valid."""
    data = good.read_bytes()
    header = describe(good)
    tensors = from_bytes(data)
    header, tensors = change(header, tensors) or (header, tensors)
    path.write_bytes(to_bytes(tensors, metadata={"deltaprop": json.dumps(header)}))
    return path


def set_in(header, keys, value):
    place = header
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value


def nested(depth):
    value = 0
    for _ in range(depth):
        value = [value]
    return value


MALICIOUS = {
    "an arbitrary class": (("model", "fitted", "t_"), {"$object": "Popen", "state": {}}),
    "a method replaced": (
        ("model", "fitted", "t_"),
        {"$object": "SimpleImputer", "state": {"transform": 1}},
    ),
    "a dunder": (("model", "fitted", "t_"), {"$object": "ToFloat", "state": {"__class__": 1}}),
    "an unknown attribute": (("model", "fitted", "evil"), 1),
    "an unknown tag": (("model", "fitted", "t_"), {"$eval": "1"}),
    "two tags": (("model", "fitted", "t_"), {"$tuple": [], "$set": []}),
    "deep nesting": (("model", "fitted", "t_"), nested(200)),
    "a missing tensor": (("model", "network", "theta"), {"$tensor": "../../x"}),
    "huge layers": (("model", "network", "config", "layers", 0, "units"), 10**12),
    "negative layers": (("model", "network", "config", "layers", 0, "units"), -4),
    "another activation": (("model", "network", "config", "layers", 0, "activation"), "os.system"),
    "another dtype": (("model", "network", "config", "dtype"), "float32"),
    "a wrong parameter": (("model", "parameters", "nonsense"), 1),
    "another kind": (("kind",), "Network"),
    "no kind": (("kind",), "subprocess.Popen"),
    "no version": (("format",), "1"),
    "other features": (("model", "fitted", "n_features_in_"), 2),
    "fewer classes": (
        ("model", "fitted", "classes_"),
        {"$array": ["a"], "shape": [1], "dtype": "U"},
    ),
    "another task": (("model", "fitted", "_kind"), "none"),
    "a random state": (("model", "fitted", "t_"), {"$random": {"$dict": [["a", 1]]}}),
    "a folder to write to": (("model", "parameters", "checkpoint"), "/tmp/elsewhere"),
    "a record": (("model", "parameters", "record"), {"$dict": []}),
    "bytes of a length": (("model", "fitted", "t_"), {"$scalar": 3_000_000_000, "dtype": "|S1"}),
    "text of a length": (("model", "fitted", "t_"), {"$scalar": 10**10, "dtype": "<U1"}),
    "an object as a scalar": (("model", "fitted", "t_"), {"$scalar": 1, "dtype": "|O"}),
    "keys of equal hashes": (
        ("model", "fitted", "t_"),
        {"$set": [i * (2**61 - 1) for i in range(100_000)]},
    ),
    "a false size": (
        ("model", "fitted", "classes_"),
        {"$array": ["a"], "shape": [2**40], "dtype": "O"},
    ),
}


@pytest.mark.parametrize("attack", MALICIOUS)
def test_a_malicious_header_raises_a_clear_error(attack, good, tmp_path):
    keys, value = MALICIOUS[attack]
    bad = rewritten(good, tmp_path / "bad.dp", lambda h, t: set_in(h, keys, value))
    with pytest.raises(ModelFileError, match=r"bad\.dp"):
        dp.load(bad)


def in_progress(header, name):
    return next(pair for pair in header["model"]["fitted"]["_progress"]["$dict"] if pair[0] == name)


INVALID_PROGRESS = {
    "a state of another size": ("solver_state", {"$tuple": [{"$tensor": "t1"}] * 2}),
    "a state without arrays": ("solver_state", {"$tuple": [1, 2]}),
    "rows that do not exist": ("order", [0, 1, 2**40]),
    "a negative step": ("step", -1),
    "a seed that is a string": ("dropout_seed", "1"),
    "a random state that is a string": ("rng", "1"),
}


@pytest.mark.parametrize("attack", INVALID_PROGRESS)
def test_sizes_and_indices_that_kernels_use_are_validated(attack, good, tmp_path):
    """Kernels do not check sizes and indices, so wrong ones could access invalid memory."""
    name, value = INVALID_PROGRESS[attack]

    def change(header, tensors):
        tensors = dict(tensors)
        if attack.startswith("a state of"):
            value["$tuple"] = in_progress(header, name)[1]["$tuple"]
            victim = value["$tuple"][0]["$tensor"]
            tensors[victim] = tensors[victim][:-1].copy()
        elif name == "order":
            tensors[in_progress(header, name)[1]["$tensor"]][0] = 2**40
        else:
            in_progress(header, name)[1] = value
        return header, tensors

    with pytest.raises(ModelFileError, match=r"bad\.dp"):
        dp.load(rewritten(good, tmp_path / "bad.dp", change))


def test_an_invalid_random_state_is_rejected(good, tmp_path):
    def change(header, tensors):
        state = dict(in_progress(header, "rng")[1]["$random"]["$dict"])
        next(pair for pair in state["state"]["$dict"] if pair[0] == "pos")[1] = 2**30

    with pytest.raises(ModelFileError, match="invalid random state"):
        dp.load(rewritten(good, tmp_path / "bad.dp", change))


def test_an_unexpected_tensor_is_rejected(good, tmp_path):
    with pytest.raises(ModelFileError, match="tensors that its header does not name"):
        dp.load(rewritten(good, tmp_path / "bad.dp", lambda h, t: (h, t | {"x": np.ones(3)})))


@pytest.fixture(scope="module")
def good_table(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "table.dp"
    frame = pd.DataFrame(
        {
            "size": rng.rand(60),
            "colour": np.array(["red", "blue", "green"])[rng.randint(3, size=60)],
            "note": [f"some words {i}" for i in range(60)],
        }
    )
    dp.save(dp.TabularRegressor(4, max_iter=2, random_state=0).fit(frame, rng.rand(60)), path)
    return path


def states(header, name):
    """Return the states of all objects of a class in a header."""
    found, rest = [], [header]
    while rest:
        item = rest.pop()
        if isinstance(item, dict):
            if item.get("$object") == name:
                found.append(item["state"])
            rest += item.values()
        elif isinstance(item, list):
            rest += item
    assert found
    return found


def column(header, kind):
    return states(header, f"{kind}Column")[0]


TABLES = {
    "no preprocessing": lambda h: set_in(h, ("model", "fitted", "encoder_"), None),
    "a scale of NaN": lambda h: set_in(h, ("model", "fitted", "y_scale_"), {"$float": "nan"}),
    "another width": lambda h: column(h, "Number")["squash"]["state"].update(
        column(h, "Text")["squash"]["state"]
    ),
    "categories without room": lambda h: column(h, "Category")["labels"].append("violet"),
    "terms without weights": lambda h: column(h, "Text")["terms"].append("abc"),
    "a lost part": lambda h: column(h, "Text").update(components=None),
    "a derived part": lambda h: column(h, "Category").update(table=1),
    "a lost column": lambda h: states(h, "TableEncoder")[0]["columns_"]["$dict"].__delitem__(-1),
}


@pytest.mark.parametrize("damage", TABLES)
def test_inconsistent_preprocessing_is_rejected(damage, good_table, tmp_path):
    with pytest.raises(ModelFileError, match=r"bad\.dp"):
        dp.load(rewritten(good_table, tmp_path / "bad.dp", lambda h, t: TABLES[damage](h)))


def test_preprocessing_of_other_versions_names_the_versions(good_table, tmp_path):
    def change(header, tensors):
        header["versions"]["skrub"] = "0.0.1"
        column(header, "Text").update(components=None)

    with pytest.raises(ModelFileError, match=r"written with .*skrub 0\.0\.1; here are"):
        dp.load(rewritten(good_table, tmp_path / "bad.dp", change))


@pytest.fixture(scope="module")
def old_table(tmp_path_factory):
    """The file of an earlier version, which contains objects of skrub and scikit-learn."""
    path = tmp_path_factory.mktemp("models") / "old.dp"
    fixture = Path(__file__).parent / "compatibility/models/tabular_classifier.dp.bin"
    path.write_bytes(fixture.read_bytes())
    return path


def longer_vocabulary(header):
    for pair in states(header, "TfidfVectorizer")[0]["vocabulary_"]["$dict"]:
        pair[1] += 2**30


OLD_TABLES = {
    "another width": lambda h: states(h, "SquashingScaler")[0].update(n_features_in_=2),
    "categories without room": lambda h: states(h, "OneHotEncoder")[0].update(_n_features_outs=[1]),
    "words out of range": longer_vocabulary,
    "words by a slow expression": lambda h: states(h, "TfidfVectorizer")[0].update(
        analyzer="word", token_pattern="(?:|1|){40}z"
    ),
    "too many names": lambda h: states(h, "StringEncoder")[0].update(n_components_=10**12),
    "documents that are files": lambda h: states(h, "TfidfVectorizer")[0].update(input="filename"),
    "a lost part": lambda h: states(h, "StringEncoder")[0].update(vectorizer_=None),
}


@pytest.mark.parametrize("damage", OLD_TABLES)
def test_inconsistent_preprocessing_of_an_earlier_version_is_rejected(damage, old_table, tmp_path):
    with pytest.raises(ModelFileError, match=r"bad\.dp"):
        dp.load(rewritten(old_table, tmp_path / "bad.dp", lambda h, t: OLD_TABLES[damage](h)))


def test_strings_that_would_exhaust_memory_are_rejected(good, tmp_path):
    words = {"$array": ["a" * 10**6] + ["b"] * 300, "shape": [301], "dtype": "U"}
    bad = rewritten(
        good, tmp_path / "bad.dp", lambda h, t: set_in(h, ("model", "fitted", "classes_"), words)
    )
    with pytest.raises(ModelFileError, match="fill the memory"):
        dp.load(bad)


def test_many_arrays_of_strings_share_one_limit(good, tmp_path):
    words = {"$array": ["a" * 10**6] + ["b"] * 30, "shape": [31], "dtype": "U"}
    bad = rewritten(
        good, tmp_path / "bad.dp", lambda h, t: set_in(h, ("model", "fitted", "t_"), [words] * 5)
    )
    with pytest.raises(ModelFileError, match="fill the memory"):
        dp.load(bad)


def test_a_header_of_millions_of_lists_is_rejected_before_it_is_read(good, tmp_path):
    many = "[" + "[]," * 4_100_000 + "[]]"
    header = {"deltaprop": many}
    (tmp_path / "bad.dp").write_bytes(to_bytes({"t0": np.zeros(1)}, metadata=header))
    with pytest.raises(ModelFileError, match="header would fill the memory"):
        dp.load(tmp_path / "bad.dp")


@pytest.mark.skipif(sys.platform == "win32", reason="no devices and pipes")
def test_devices_and_pipes_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for endless in ("/dev/zero", tmp_path / "pipe"):
        with pytest.raises(ModelFileError, match="a device or a pipe"):
            dp.load(endless)


def test_parameters_with_nan_are_rejected(good, tmp_path):
    def spoil(header, tensors):
        name = header["model"]["network"]["theta"]["$tensor"]
        return header, tensors | {name: np.full_like(tensors[name], np.nan)}

    with pytest.raises(ModelFileError, match="NaN or infinity"):
        dp.load(rewritten(good, tmp_path / "bad.dp", spoil))


def test_a_newer_file_says_to_upgrade(good, tmp_path):
    bad = rewritten(good, tmp_path / "bad.dp", lambda h, t: set_in(h, ("format",), 99))
    with pytest.raises(ModelFileError, match=r"newer deltaprop.*Upgrade"):
        dp.load(bad)


@given(st.data())
def test_damaged_bytes_never_crash_or_give_a_partial_model(good, tmp_path_factory, data):
    content = bytearray(good.read_bytes())
    if data.draw(st.booleans(), label="truncate"):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        at = data.draw(st.integers(0, len(content) - 1))
        content[at] ^= data.draw(st.integers(1, 255))
    bad = tmp_path_factory.mktemp("bad") / "bad.dp"
    bad.write_bytes(content)
    try:
        model = dp.load(bad)
    except ModelFileError:
        return
    assert model.predict_proba(X).shape == (60, 3)  # the flipped byte was in a weight


@pytest.mark.parametrize(
    "content",
    [b"", b"x", b"PK\x03\x04 a zip", b"\x80\x04\x95 a pickle", struct.pack("<Q", 2**63) + b"{}"],
)
def test_other_files_are_not_models(content, tmp_path):
    (tmp_path / "m.dp").write_bytes(content)
    with pytest.raises(ModelFileError, match="is not a model file"):
        dp.load(tmp_path / "m.dp")


def test_missing_files_and_folders_raise_clear_errors(tmp_path):
    with pytest.raises(ModelFileError, match="no file"):
        dp.load(tmp_path / "absent.dp")
    with pytest.raises(ModelFileError, match="is a folder"):
        dp.load(tmp_path)


# ---------------------------------------------------------------- URLs


def test_models_are_saved_to_and_loaded_from_a_url():
    model = dp.MLPClassifier(4, max_iter=3, random_state=0).fit(X, LABELS["words"])
    address = "memory://bucket/models/m.dp"
    dp.save(model, address)
    np.testing.assert_array_equal(dp.load(address).predict_proba(X), model.predict_proba(X))
    assert describe(address)["kind"] == "MLPClassifier"
    with pytest.raises(ModelFileError, match=r"There is no file 'memory://bucket/other\.dp'"):
        dp.load("memory://bucket/other.dp")
    with pytest.raises(ModelFileError, match=r"'nowhere://m.dp' cannot be used: .*s3fs for s3://"):
        dp.save(model, "nowhere://m.dp")


def test_a_failed_upload_keeps_the_old_file(monkeypatch):
    from fsspec.implementations.memory import MemoryFileSystem

    net, other = (dp.Network(3, [dp.Dense(1)], loss="huber", seed=s) for s in (0, 1))
    dp.save(net, "memory://net.dp")

    def refused(self, *args, **settings):
        raise PermissionError("Access denied")

    monkeypatch.setattr(MemoryFileSystem, "put_file", refused)
    with pytest.raises(ModelFileError, match="could not be written: Access denied"):
        dp.save(other, "memory://net.dp")
    np.testing.assert_array_equal(dp.load("memory://net.dp").theta, net.theta)


def test_any_failure_of_a_url_raises_model_file_error(monkeypatch):
    """Network errors need not be OSErrors; those of botocore are not."""
    from fsspec.implementations.memory import MemoryFileSystem

    class NoConnection(Exception):
        pass

    def refused(self, *args, **settings):
        raise NoConnection("no route to host")

    net = dp.Network(3, [dp.Dense(1)], loss="huber", seed=0)
    for name in ("cat_file", "put_file"):
        monkeypatch.setattr(MemoryFileSystem, name, refused)
    with pytest.raises(ModelFileError, match="could not be written: no route to host"):
        dp.save(net, "memory://net.dp")
    with pytest.raises(ModelFileError, match="cannot be read: no route to host"):
        dp.load("memory://net.dp")


def test_unwritable_explains_why_a_path_cannot_be_written(tmp_path):
    assert unwritable(tmp_path / "m.dp") is None
    assert unwritable(f"file://{tmp_path}/m.dp") is None
    assert unwritable("/dev/null") is None
    assert "no folder" in unwritable(f"file://{tmp_path}/absent/m.dp")
    assert "no folder" in unwritable("memory://absent/m.dp")
    assert "names no file" in unwritable("memory://bucket")
    assert "is a folder" in unwritable(tmp_path)


def test_file_urls_are_paths(tmp_path):
    net = dp.Network(3, [dp.Dense(1)], loss="huber", seed=0)
    dp.save(net, f"file://{tmp_path}/net.dp")
    np.testing.assert_array_equal(dp.load(tmp_path / "net.dp").theta, net.theta)


# ---------------------------------------------------------------- writing is all or nothing


def test_a_private_file_stays_private(tmp_path):
    net, path = dp.Network(3, [dp.Dense(1)], loss="huber", seed=0), tmp_path / "net.dp"
    dp.save(net, path)
    path.chmod(0o600)
    dp.save(net, path)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("shell", ["{} | cat > {}", "{} >> {}"])
def test_standard_output_is_written_to_and_never_replaced(shell, tmp_path):
    out = tmp_path / "out"
    out.write_bytes(b"")
    code = (
        "import deltaprop as dp; net = dp.Network(3, [dp.Dense(1)], loss='huber', seed=0); "
        "dp.save(net, '/dev/stdout')"
    )
    command = shell.format(f'{sys.executable} -c "{code}"', out)
    subprocess.run(command, shell=True, check=True)
    assert dp.load(out).n_features == 3


def test_a_loop_of_links_raises_model_file_error(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    net = dp.Network(3, [dp.Dense(1)], loss="huber", seed=0)
    with pytest.raises(ModelFileError, match="could not be written"):
        dp.save(net, tmp_path / "a")
    with pytest.raises(ModelFileError, match="could not be written"):
        dp.save(net, "a\0b")


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left"), KeyboardInterrupt()])
def test_a_full_disk_or_ctrl_c_leaves_the_old_file(step, failure, good, tmp_path, monkeypatch):
    path = tmp_path / "m.dp"
    path.write_bytes(good.read_bytes())

    def fail(*args):
        raise failure

    if step == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    expected = ModelFileError if isinstance(failure, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        dp.save(dp.Network(1, [dp.Dense(1)], loss="huber"), path)
    assert path.read_bytes() == good.read_bytes()
    assert [p.name for p in tmp_path.iterdir()] == ["m.dp"]


def test_a_link_is_followed_and_a_pipe_is_written_to_not_replaced(good, tmp_path):
    net = dp.Network(1, [dp.Dense(1)], loss="huber", seed=0)
    (tmp_path / "store").mkdir()
    (tmp_path / "link.dp").symlink_to(tmp_path / "store" / "real.dp")
    dp.save(net, tmp_path / "link.dp")
    assert (tmp_path / "link.dp").is_symlink()
    assert (tmp_path / "store" / "real.dp").is_file()
    os.mkfifo(tmp_path / "pipe")
    with ThreadPoolExecutor(1) as pool:
        received = pool.submit((tmp_path / "pipe").read_bytes)
        dp.save(net, tmp_path / "pipe")
        assert received.result() == (tmp_path / "link.dp").read_bytes()
    assert (tmp_path / "pipe").is_fifo()


def test_a_network_that_diverged_is_not_saved(tmp_path):
    net = dp.Network(1, [dp.Dense(1)], loss="huber", seed=0)
    net.theta[0] = np.nan
    with pytest.raises(ModelFileError, match="diverged"):
        dp.save(net, tmp_path / "m.dp")
    assert list(tmp_path.iterdir()) == []


def test_unsupported_models_are_rejected_before_writing(tmp_path):
    for thing in (object(), {"a": 1}, None):
        with pytest.raises(ModelFileError, match="must be one of Network"):
            dp.save(thing, tmp_path / "m.dp")
    model = dp.MLPClassifier(4, max_iter=2).fit(X, LABELS["words"])
    model.classes_ = np.array([object(), object(), object()])
    with pytest.raises(ModelFileError, match=r"classes_.*cannot be saved"):
        dp.save(model, tmp_path / "m.dp")
    assert list(tmp_path.iterdir()) == []


def test_all_solvers_and_schedules_can_be_saved_and_no_base_class():
    for module in (solvers, natural_gradient, schedules):
        for name, cls in vars(module).items():
            concrete = isinstance(cls, type) and issubclass(cls, (Solver, Schedule))
            if concrete and cls is not Solver and not inspect.isabstract(cls):
                assert storable(name).cls is cls
    for name in ("Solver", "FirstOrder", "Schedule", "Activation", "Loss", "Progress", "Network"):
        assert storable(name) is None


def test_classes_with_the_name_of_a_solver_are_rejected(tmp_path):
    """Neither a subclass with the name of a solver nor a solver that a program defines itself."""
    model = dp.MLPRegressor(hidden_layer_sizes=4, max_iter=2).fit(X, X[:, 0])
    for name in ("Adam", "Lion"):
        model.solver = type(name, (dp.Adam,), {"__module__": "deltaprop.optim.solvers"})()
        with pytest.raises(ModelFileError, match=r"solver.*cannot be saved"):
            dp.save(model, tmp_path / "m.dp")
        assert name == "Adam" or storable(name) is None


def test_no_pickle_is_in_the_file(good):
    content = good.read_bytes()
    assert b"\x80\x04" not in content[:2]
    header = json.loads(content[8 : 8 + struct.unpack("<Q", content[:8])[0]])
    assert set(header) - {"__metadata__"} == set(from_bytes(content))
