"""Tables larger than memory: what is read, in which order, and that training on it is the same."""

import json
import random
import subprocess
import sys
import textwrap
from itertools import pairwise

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import deltaprop as dp
from deltaprop.cli.app import app
from deltaprop.optim.state import TrainingState
from deltaprop.tables import TableError, predict_stream, stream
from deltaprop.training.checkpoint_manager import CheckpointManager

from .trainers import run_epoch, trainer

rng = np.random.default_rng(0)
N = 30_000
X = rng.standard_normal((N, 5)).astype(np.float32)
Y = rng.integers(0, 3, N)
W = rng.random(N)
NAMES = [f"x{j}" for j in range(5)]
FRAME = pd.DataFrame(X, columns=NAMES).assign(y=Y, w=W)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Three files of row groups of 700 rows; a hidden file and a note that are no data."""
    place = tmp_path_factory.mktemp("table")
    (place / "later").mkdir()
    for k, name in enumerate(("a.parquet", "b.parquet", "later/c.parquet")):
        table = pa.Table.from_pandas(FRAME.iloc[k * N // 3 : (k + 1) * N // 3])
        pq.write_table(table, place / name, row_group_size=700)
    (place / "_SUCCESS").write_text("")
    (place / "notes.txt").write_text("not a table")
    return place


def network(reduction="mean", seed=0):
    layers = [dp.Dense(7, "tanh", 0.1), dp.Dense(3, "softmax")]
    return dp.Network(
        5, layers, loss="cross_entropy", l2=0.1, reduction=reduction, dtype="float32", seed=seed
    )


def draw(rng):
    """The seed of an epoch's order, as the search draws it."""
    return np.array([rng.randint(2**31 - 1)])


# ---------------------------------------------------------------- the same as in memory


@pytest.mark.parametrize("reduction", ["sum", "mean", "sklearn"])
@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("batch_size", [64, pytest.param(1000, marks=pytest.mark.slow), N])
@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_a_stream_trains_as_its_rows_in_memory_do_in_the_same_order(
    folder, engine, batch_size, weight, reduction
):
    rows = stream(folder, "y", columns=NAMES, weight=weight, memory="1MB")
    net, other = network(reduction), network(reduction)
    history = dp.fit(net, rows, batch_size=batch_size, max_epochs=2, engine=engine, seed=3, tol=0)

    streamed = trainer(engine, other, rows, batch_size=batch_size)
    several = batch_size < N  # otherwise the chunk is as long as the one batch
    assert (streamed.chunk_rows < N) == several
    seeds = np.random.RandomState(3)
    state = TrainingState(dropout_seed=int(seeds.randint(2**31 - 1)))
    w = None if weight is None else W.astype(np.float32)
    memory = trainer(engine, other, X, Y, w, batch_size=batch_size, state=state)
    for epoch in range(2):
        order = streamed.row_order(draw(seeds))
        np.testing.assert_array_equal(np.sort(order), np.arange(N))
        loss = run_epoch(memory, order, np.full(-(-N // batch_size), 1e-3))
        np.testing.assert_allclose(history.loss_curve[epoch], loss, rtol=1e-5)
    np.testing.assert_allclose(net.theta, other.theta, rtol=1e-5, atol=1e-7)


def test_an_epoch_of_a_stream_can_begin_anywhere(folder):
    rows, thetas = stream(folder, "y", columns=NAMES, memory="1MB"), []
    rates = np.full(-(-N // 50), 1e-3)
    for cuts in ([0, len(rates)], [0, 123, 124, 400, len(rates)]):
        net = network()
        streamed = trainer(
            "reference", net, rows, batch_size=50, state=TrainingState(dropout_seed=1)
        )
        order = draw(np.random.RandomState(0))
        for low, high in pairwise(cuts):
            run_epoch(streamed, order, rates[low:high], low)
        thetas.append(net.theta)
    np.testing.assert_array_equal(*thetas)


def test_orders_differ_from_epoch_to_epoch_and_mix_the_row_groups(folder):
    rows = stream(folder, "y", columns=NAMES, memory="1MB")
    streamed = trainer("reference", network(), rows, batch_size=64)
    seeds = np.random.RandomState(0)
    first, second = (streamed.row_order(draw(seeds)) for _ in range(2))
    assert not np.array_equal(first, second)
    assert len({place // 700 for place in first[:64]}) > 5  # groups in a batch
    np.testing.assert_array_equal(streamed.row_order(None), np.arange(N))


def test_unshuffled_rows_come_as_they_lie(folder):
    net, other = network(), network()
    rows = stream(folder, "y", columns=NAMES, memory="1MB")
    search = {"batch_size": 64, "max_epochs": 1, "shuffle": False, "engine": "reference"}
    dp.fit(net, rows, **search)
    dp.fit(other, X, Y, **search)
    np.testing.assert_array_equal(net.theta, other.theta)


@pytest.mark.slow  # a large table
def test_memory_does_not_grow_with_the_table(tmp_path):
    code = """
    import resource, sys
    import numpy as np, pyarrow as pa, pyarrow.parquet as pq
    import deltaprop as dp
    rows, path = int(sys.argv[1]), sys.argv[2]
    with pq.ParquetWriter(path, pa.schema([(f"x{j}", pa.float32()) for j in range(20)]
                                          + [("y", pa.int64())])) as writer:
        for at in range(0, rows, 50_000):
            X = np.random.default_rng(at).standard_normal((20, 50_000), dtype=np.float32)
            columns = {f"x{j}": X[j] for j in range(20)}
            writer.write_table(pa.table({**columns, "y": (X[0] > 0).astype("i8")}))
    net = dp.Network(20, [dp.Dense(4, "relu"), dp.Dense(2, "softmax")], loss="cross_entropy",
                     dtype="float32", seed=0)
    dp.fit(net, dp.tables.stream(path, "y", memory="20MB"), batch_size=1000, max_epochs=1)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
    """
    peaks = []
    for rows in (200_000, 1_400_000):  # 112 MB as numbers
        path = str(tmp_path / f"{rows}.parquet")
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(rows), path],
            capture_output=True, text=True, timeout=200, check=True,
        )  # fmt: skip
        peaks.append(int(run.stdout) / 1e3)
    assert peaks[1] < peaks[0] + 50, peaks


# ---------------------------------------------------------------- what is read


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "arrow", "feather", "parquet"])
def test_kinds_of_files(kind, tmp_path):
    path = tmp_path / f"table.{kind}"
    small = FRAME.iloc[:500].assign(whole=np.arange(500), flag=FRAME["x0"].iloc[:500] > 0)
    if kind.startswith("csv"):
        small.to_csv(path, index=False)
    elif kind == "parquet":
        small.to_parquet(path)
    else:
        pyarrow.feather.write_feather(small, str(path))
    rows = stream(path, "y")
    assert rows.features == (*NAMES, "w", "whole", "flag")
    found, y, w = rows.in_memory("float64")
    np.testing.assert_allclose(found, small.drop(columns="y").to_numpy(float), rtol=1e-6)
    np.testing.assert_array_equal(y, small["y"])
    assert w is None


@pytest.mark.parametrize("how", ["folder", "glob", "list", "url", "url of a folder", "url glob"])
def test_places(how, folder, tmp_path):
    import fsspec

    place = fsspec.filesystem("memory")
    for name in ("a", "b"):
        with place.open(f"/store-{tmp_path.name}/{name}.parquet", "wb") as file:
            file.write((folder / f"{name}.parquet").read_bytes())
    url = f"memory://store-{tmp_path.name}"
    source, n = {
        "folder": (folder, N),
        "glob": (f"{folder}/*.parquet", 2 * N // 3),
        "list": ([folder / "a.parquet"], N // 3),
        "url": (f"{url}/a.parquet", N // 3),
        "url of a folder": (url, 2 * N // 3),
        "url glob": (f"{url}/*.parquet", 2 * N // 3),
    }[how]
    rows = stream(source, "y", columns=NAMES)
    assert rows.shape == (n, 5)
    assert repr(rows) == f"Stream({n} rows, 5 features, target='y')"
    found, y, _ = rows.in_memory("float32")
    np.testing.assert_array_equal(found, X[:n])
    np.testing.assert_array_equal(y, Y[:n])


def test_words_of_a_dictionary_are_decoded(tmp_path):
    words = np.array(["red", "blue", "green"])[Y[:900]]
    table = pa.table({"x0": X[:900, 0], "colour": pa.array(words).dictionary_encode()})
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=100)
    clf = dp.MLPClassifier(max_iter=2).fit(stream(tmp_path / "t.parquet", "colour"))
    assert list(clf.classes_) == ["blue", "green", "red"]


def test_setting_aside_parts_the_rows_by_a_hash(folder):
    rows = stream(folder, "y", columns=NAMES)
    train, held = rows.set_aside(0.2, seed=1)
    assert len(train) + len(held) == N
    assert abs(len(held) / N - 0.2) < 0.01
    places = np.concatenate([part.order(part.pieces) for part in (train, held)])
    np.testing.assert_array_equal(np.sort(places), np.arange(N))
    again = rows.set_aside(0.2, seed=1)[1]
    np.testing.assert_array_equal(again.order(again.pieces), held.order(held.pieces))
    other = rows.set_aside(0.2, seed=2)[1]
    assert len(np.intersect1d(other.order(other.pieces), held.order(held.pieces))) < 0.25 * len(
        held
    )
    np.testing.assert_array_equal(held.in_memory("float32")[0], X[held.order(held.pieces)])


def test_moments_are_those_of_all_rows(folder):
    mean, deviation = stream(folder, "w").moments()
    np.testing.assert_allclose([mean, deviation], [W.mean(), W.std()], rtol=1e-12)


# ---------------------------------------------------------------- estimators


def test_a_classifier_learns_from_a_stream(folder, tmp_path):
    labels = np.array(["no", "yes"])[(X[:, 0] + X[:, 1] > 0).astype(int)]
    FRAME[NAMES].assign(label=labels).to_parquet(tmp_path / "t.parquet", row_group_size=1000)
    rows = stream(tmp_path / "t.parquet", "label", memory="1MB")
    clf = dp.MLPClassifier((16,), max_iter=6, random_state=0, early_stopping=True).fit(rows)
    assert clf.validation_scores_[-1] > 0.95
    assert clf.score(FRAME[NAMES], labels) > 0.95
    assert list(clf.feature_names_in_) == NAMES
    dp.save(clf, tmp_path / "m.dp")
    rows = FRAME[NAMES].iloc[:9]
    np.testing.assert_array_equal(dp.load(tmp_path / "m.dp").predict(rows), clf.predict(rows))


def test_partial_fit_takes_a_pass_over_a_stream(folder):
    rows = stream(folder, "y", columns=NAMES, memory="1MB")
    clf = dp.MLPClassifier((8,), random_state=0)
    for _ in range(2):
        clf.partial_fit(rows, classes=[0, 1, 2])
    assert len(clf.loss_curve_) == 2
    with pytest.raises(ValueError, match="'y' has \\[2\\]"):
        dp.MLPClassifier((8,)).partial_fit(rows, classes=[0, 1])
    reg = dp.MLPRegressor(hidden_layer_sizes=(8,), random_state=0).partial_fit(
        stream(folder, "w", columns=NAMES)
    )
    assert len(reg.loss_curve_) == 1


def test_tabular_estimators_learn_from_a_stream(tmp_path):
    table = dp.tables.read_table("data/penguins.csv").dropna(subset="body_mass_g")
    for k in range(3):
        table.iloc[k::3].to_parquet(tmp_path / f"{k}.parquet", row_group_size=20)
    model = dp.TabularClassifier(random_state=0).fit(stream(tmp_path, "species"))
    assert model.score(table.drop(columns="species"), table["species"]) > 0.97
    assert model.target_name_ == "species"
    model = dp.TabularRegressor(random_state=0).fit(stream(tmp_path, "body_mass_g"))
    assert model.score(table.drop(columns="body_mass_g"), table["body_mass_g"]) > 0.8


def test_a_category_of_one_row_is_in_the_encoding(tmp_path):
    """And text, of which there are too many different ones, is not kept whole for it."""
    n = 120_000
    common = np.array(["red", "blue"])[np.arange(n) % 2].astype(object)
    common[77_777], common[99_999] = "green", None
    frame = pd.DataFrame({"x": np.arange(n) / n, "colour": common, "y": np.arange(n) % 3})
    frame["name"] = [f"n{i}" for i in range(n)]
    frame["kind"] = pd.Categorical(np.where(np.arange(n) == 5, "rare", "usual"))
    frame.to_parquet(tmp_path / "t.parquet")
    rows = stream(tmp_path / "t.parquet", "y")
    sample = rows.sample(100, every_category=True)
    assert {"red", "blue", "green"} <= set(sample["colour"].dropna())
    assert sample["colour"].isna().any()
    assert set(sample["kind"]) == {"rare", "usual"}
    assert len(sample) < 200
    model = dp.TabularClassifier((4,), max_iter=1, random_state=0).fit(rows.without(["name"]))
    probe = pd.DataFrame({"x": 0.5, "colour": ["red", "green", "violet"], "kind": "usual"})
    red, green, unknown = model.encoder_.transform(probe)
    assert not np.array_equal(green, unknown)
    assert not np.array_equal(green, red)


def test_predictions_go_from_file_to_file(tmp_path):
    rows = stream("data/penguins.csv", "species")
    model = dp.TabularClassifier(random_state=0, max_iter=20).fit(rows)
    assert predict_stream(model, rows, tmp_path / "p.parquet", proba=True) == 344
    table = dp.tables.read_table("data/penguins.csv")
    written = pd.read_parquet(tmp_path / "p.parquet")
    np.testing.assert_array_equal(written["species"], model.predict(table))
    np.testing.assert_allclose(written.iloc[:, 1:], model.predict_proba(table), rtol=1e-5)

    before = (tmp_path / "p.parquet").read_bytes()
    table.drop(columns="island").to_csv(tmp_path / "less.csv", index=False)
    with pytest.raises(TableError, match="needs: island"):
        predict_stream(model, stream(tmp_path / "less.csv"), tmp_path / "p.parquet")
    table["bill_depth_mm"] = table["bill_depth_mm"].astype(object)
    (tmp_path / "bad.csv").write_text("a,b\n1\n")
    assert (tmp_path / "p.parquet").read_bytes() == before
    assert not list(tmp_path.glob(".deltaprop.*"))

    predict_stream(model, rows, "memory://bucket/p.parquet", proba=True)
    pd.testing.assert_frame_equal(pd.read_parquet("memory://bucket/p.parquet"), written)


# ---------------------------------------------------------------- what can go wrong

BAD = {
    "no file": (lambda p: stream(p / "nope.parquet"), TableError, "There is no file"),
    "no match": (lambda p: stream(f"{p}/*.nope"), TableError, "There is no file"),
    "unknown kind": (lambda p: stream(p / "notes.txt"), TableError, "cannot be streamed"),
    "target": (lambda p: stream(p, "z"), TableError, "no column 'z' \\(target\\)"),
    "columns": (lambda p: stream(p, "y", columns=["x9"]), TableError, "no column .x9. .columns"),
    "memory": (lambda p: stream(p, memory="lots"), ValueError, "memory must be .* got 'lots'"),
    "memory of 1": (lambda p: stream(p, memory=1), ValueError, "memory must be"),
    "no target": (lambda p: dp.fit(network(), stream(p, columns=NAMES)), TableError, "no target"),
    "y": (lambda p: dp.fit(network(), stream(p, "y"), Y), ValueError, "y cannot be given with"),
    "record": (
        lambda p: dp.fit(network(), stream(p, "y", columns=NAMES), record=1), ValueError, "record",
    ),
    "l-bfgs": (
        lambda p: dp.fit(network(), stream(p, "y", columns=NAMES), solver=dp.LBFGS()),
        ValueError, "first-order",
    ),
    "class_weight": (
        lambda p: dp.MLPClassifier(class_weight="balanced").fit(stream(p, "y")),
        ValueError, "class_weight cannot",
    ),
    "numbers as classes": (
        lambda p: dp.MLPClassifier().fit(stream(p, "x0")), TableError, "too many for classes",
    ),
    "classes beyond the outputs": (
        lambda p: dp.fit(dp.Network(5, [dp.Dense(2, "softmax")], loss="cross_entropy"),
                         stream(p, "y", columns=NAMES)),
        ValueError, "class indices 0 to 1",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_arguments_are_named(case, folder):
    call, kind, message = BAD[case]
    with pytest.raises(kind, match=message):
        call(folder)


@pytest.mark.parametrize("column", ["word", "gap", "endless"])
def test_columns_that_are_not_finite_numbers(column, tmp_path):
    small = FRAME.iloc[:100].assign(word="a", gap=np.nan, endless=np.inf)
    small.to_parquet(tmp_path / "t.parquet")
    net = dp.Network(1, [dp.Dense(3, "softmax")], loss="cross_entropy", dtype="float32", seed=0)
    with pytest.raises(TableError, match=f"Column '{column}'"):
        dp.fit(net, stream(tmp_path / "t.parquet", "y", columns=[column]))


def test_numbers_too_large_for_the_network_are_an_error(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 1e300, 2.0], "y": [0.0, 1.0, 2.0]})
    frame.to_parquet(tmp_path / "t.parquet")
    net = dp.Network(1, [dp.Dense(1)], loss="huber", dtype="float32", seed=0)
    before = net.theta.copy()
    with pytest.raises(ValueError, match="too large for float32"):
        dp.fit(net, stream(tmp_path / "t.parquet", "y"), max_epochs=1)
    np.testing.assert_array_equal(net.theta, before)


def test_views_of_strings_are_strings(tmp_path):
    words = pa.array(["a", "b", "a", "c"] * 20).cast(pa.string_view())
    table = pa.table({"word": words, "y": list(range(4)) * 20})
    with pa.ipc.new_file(str(tmp_path / "t.arrow"), table.schema) as writer:
        writer.write_table(table)
    rows = stream(tmp_path / "t.arrow", "y")
    assert set(rows.sample(100)["word"]) == {"a", "b", "c"}
    dp.TabularClassifier((4,), max_iter=2, random_state=0).fit(rows)


def test_missing_targets_are_an_error_or_left_out(tmp_path):
    FRAME.iloc[:100].assign(y=np.where(np.arange(100) % 4, 1.0, np.nan)).to_parquet(
        tmp_path / "t.parquet"
    )
    rows = stream(tmp_path / "t.parquet", "y", columns=NAMES)
    with pytest.raises(TableError, match="the target, has missing"):
        dp.MLPClassifier().fit(rows)
    assert len(rows.with_target_known()) == 75


def test_a_damaged_file_leaves_the_network_as_it_was(folder, tmp_path):
    whole = (folder / "a.parquet").read_bytes()
    (tmp_path / "short.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(TableError, match="cannot be read"):
        stream(tmp_path / "short.parquet", "y")
    # A page in the middle: its header and all other row groups are in order.
    at = pq.ParquetFile(folder / "a.parquet").metadata.row_group(9).column(0).data_page_offset
    (tmp_path / "t.parquet").write_bytes(whole[:at] + bytes(400) + whole[at + 400 :])
    net = network()
    before = net.theta.copy()
    with pytest.raises(TableError, match=r"t\.parquet' cannot be read"):
        dp.fit(net, stream(tmp_path / "t.parquet", "y", columns=NAMES, memory="1MB"), max_epochs=1)
    np.testing.assert_array_equal(net.theta, before)


def test_ctrl_c_keeps_what_was_learnt(folder):
    net = network()

    def press(event):
        if event.epoch == 2:
            raise KeyboardInterrupt

    with pytest.warns(UserWarning, match="interrupted"):
        history = dp.fit(net, stream(folder, "y", columns=NAMES, memory="1MB"), callbacks=[press])
    assert history.stop_reason == "interrupted"
    assert not np.array_equal(net.theta, network().theta)


# ---------------------------------------------------------------- the command line


def test_the_command_line_streams_a_folder(tmp_path, monkeypatch):
    table = dp.tables.read_table("data/penguins.csv")
    (tmp_path / "in").mkdir()
    for k in range(3):
        table.iloc[k::3].to_parquet(tmp_path / "in" / f"{k}.parquet")
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke(app, ["train", "in", "--target", "sex", "--json", "--seed", "1"])
    assert run.exit_code == 0, run.output
    told = json.loads(run.stdout)
    assert (told["rows"], told["rows_without_target"]) == (344, 11)
    assert told["train_rows"] + told["test_rows"] == 333
    assert told["scores"]["deltaprop"]["accuracy"] > 0.75
    run = CliRunner().invoke(app, ["predict", "model.dp", "in/*.parquet", "-o", "p.parquet"])
    assert run.exit_code == 0, run.output
    assert len(pd.read_parquet("p.parquet")) == 344
    run = CliRunner().invoke(app, ["predict", "model.dp", "in"])
    assert run.exit_code == 0, run.output
    assert run.stdout.splitlines() == ["sex", *pd.read_parquet("p.parquet").sex]
    run = CliRunner().invoke(app, ["train", "in", "--target", "sex", "--memory", "2", "--quiet"])
    assert run.exit_code != 0


# ---------------------------------------------------------------- checkpoints


@pytest.mark.parametrize("engine", ["reference", "fused"])
def test_killed_anywhere_it_ends_in_the_same_bits(engine, folder, tmp_path, monkeypatch):
    class Killed(BaseException):
        pass

    rows = stream(folder, "y", columns=NAMES, memory="1MB")
    search = {"batch_size": 64, "max_epochs": 2, "engine": engine, "validation": 0.1, "tol": 0}
    undisturbed = network()
    dp.fit(undisturbed, rows, **search)
    chance, between_steps, kills = random.Random(0), CheckpointManager.between_steps, 0

    def deadly(self):
        between_steps(self)
        if chance.random() < 0.4:
            raise Killed

    monkeypatch.setattr(CheckpointManager, "between_steps", deadly)
    while True:
        net = network()
        try:
            checkpoint = dp.Checkpoint(tmp_path / "kept", seconds=None, steps=50)
            dp.fit(net, rows, checkpoint=checkpoint, **search)
            break
        except Killed:
            kills += 1
    assert kills > 2
    np.testing.assert_array_equal(net.theta, undisturbed.theta)
    with pytest.raises(ValueError, match="memory"):
        dp.fit(network(), stream(folder, "y", columns=NAMES, memory="2MB"),
               checkpoint=checkpoint, **search)  # fmt: skip


def test_a_checkpoint_is_not_continued_with_other_weights(folder, tmp_path):
    run = {"max_epochs": 1, "engine": "reference", "batch_size": 1000, "checkpoint": tmp_path}
    dp.fit(network(), stream(folder, "y", columns=NAMES), **run)
    with pytest.raises(ValueError, match="the training rows are different"):
        dp.fit(network(), stream(folder, "y", columns=NAMES, weight="w"), **run)


def test_the_xla_engine_takes_streams(folder):
    rows, thetas = stream(folder, "y", columns=NAMES, memory="1MB"), []
    for engine in ("reference", "xla"):
        net = network()
        dp.fit(net, rows, batch_size=1000, max_epochs=2, engine=engine)
        thetas.append(net.theta)
    np.testing.assert_allclose(*thetas, rtol=1e-3, atol=1e-5)
