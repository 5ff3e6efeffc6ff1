"""The program benchmarks/tables: the registry, splits, ranks, results and processes."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from benchmarks.tables import contestants, metrics, page, pictures, report
from benchmarks.tables.__main__ import main
from benchmarks.tables.columns import OTHER, Columns
from benchmarks.tables.contestants import CONTESTANTS, Contestant, Job
from benchmarks.tables.ranks import FAMILIES, Comparison, compare, ranked
from benchmarks.tables.registry import DEVELOPMENT, HALVES, HELD_OUT, TABLES, by_rule, half_of
from benchmarks.tables.results import COLUMNS, Key, Results, read
from benchmarks.tables.running import Plan, run
from benchmarks.tables.sources import NotInstalled
from benchmarks.tables.splits import seeds_of, split
from benchmarks.tables.table import CLASSIFICATION, RARE, REGRESSION, Table
from benchmarks.tables.worker import Worker

WINE, DIABETES = TABLES["wine"], TABLES["diabetes"]
FAST = Contestant(contestants.hist_gradient_boosting, {"max_iter": 5})
BROKEN = Contestant(contestants.hist_gradient_boosting, {"no_such_parameter": 1})
ENDLESS = Contestant(
    contestants.scikit_learn_mlp, {"max_iter": 10**9, "n_iter_no_change": 10**9, "tol": 0.0}
)


@pytest.fixture(scope="module")
def quiet_worker():
    worker = Worker(FAST, threads=1)
    yield worker
    worker.close()


# ---------------------------------------------------------------- the registry


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda table: table.name)
def test_a_table_has_features_and_a_target_that_is_not_one_of_them(table):
    try:
        X, y = table.load()
    except NotInstalled as missing:
        pytest.skip(str(missing))
    assert len(X) == len(y) == table.rows
    assert 100 <= table.rows <= 100_000
    assert table.target not in X.columns
    if table.task == REGRESSION:
        assert y.dtype == np.float64
        assert np.isfinite(y).all()
        assert np.std(y) > 0
    else:
        assert np.bincount(y).min() >= RARE
        names = [name for name in X if X[name].nunique() > 1]
        constant = [name for name in names if X[name].groupby(y).nunique().max() < 2]
        assert not constant, "describes the class, not the row"
    for name, column in X.items():
        copies = column.dtype.kind in "iuf" and np.array_equal(column, y)
        assert not copies, f"{name} is the target"
        counts_rows = column.dtype.kind in "iu" and np.array_equal(
            column - column.iloc[0], np.arange(len(y))
        )
        assert not counts_rows, f"{name} numbers the rows"


def test_the_halves_are_those_of_the_rule():
    assert by_rule() == (DEVELOPMENT, HELD_OUT)
    assert sorted(DEVELOPMENT + HELD_OUT) == sorted(TABLES)
    assert len(TABLES) >= 40
    assert {half_of(name) for name in HELD_OUT} == {"held out"}
    for names in HALVES.values():
        tasks = [TABLES[name].task for name in names]
        assert min(tasks.count(CLASSIFICATION), tasks.count(REGRESSION)) >= 10


def test_every_dropped_column_has_a_reason():
    assert all(reason for table in TABLES.values() for reason in table.drop.values())


def test_a_column_to_drop_must_exist():
    with pytest.raises(KeyError, match="no_such_column"):
        replace(WINE, drop={"no_such_column": "a reason"}).load()


def test_a_missing_package_is_named(monkeypatch):
    def read_without(name):
        raise ModuleNotFoundError("No module named 'some_package'")

    monkeypatch.setitem(
        __import__("benchmarks.tables.sources", fromlist=["SOURCES"]).SOURCES, "nowhere",
        read_without,
    )  # fmt: skip
    with pytest.raises(NotInstalled, match=r"nowhere.*requirements\.txt"):
        Table("a", "nowhere", "b", REGRESSION, "y", 100).load()


def test_rows_without_a_target_and_rare_classes_are_left_out(monkeypatch):
    y = ["a"] * 50 + ["b"] * RARE + ["c"] * (RARE - 1) + [None] * 7
    frame = pd.DataFrame({"x": range(len(y)), "when": "2020-02-29T12:00:00Z", "code": 3, "y": y})
    sources = __import__("benchmarks.tables.sources", fromlist=["SOURCES"]).SOURCES
    monkeypatch.setitem(sources, "made up", lambda name: frame)
    X, target = Table(
        "a", "made up", "b", CLASSIFICATION, "y", 60, dates=("when",), codes=("code",)
    ).load()
    assert np.bincount(target).tolist() == [50, RARE]
    assert X["x"].tolist() == list(range(60))
    assert X["when"].iloc[0] == pd.Timestamp("2020-02-29 12:00")
    assert list(X["code"].cat.categories) == ["3"]


# ---------------------------------------------------------------- splits and scores


def test_splits_are_fixed_stratified_and_of_all_rows():
    rows = WINE.load()
    first, again, other = (split(rows, CLASSIFICATION, seed) for seed in (0, 0, 1))
    pd.testing.assert_frame_equal(first.train.X, again.train.X)
    assert first.test.y.tolist()[:12] == [0, 1, 0, 0, 1, 2, 1, 2, 0, 2, 0, 1]
    assert not first.train.X.equals(other.train.X)
    assert len(first.test.y) == math.ceil(0.3 * 178)
    both = pd.concat([first.train.X, first.test.X])
    order = list(both.columns)
    pd.testing.assert_frame_equal(
        both.sort_values(order, ignore_index=True), rows.X.sort_values(order, ignore_index=True)
    )
    shares = [np.bincount(part.y) / len(part.y) for part in first]
    np.testing.assert_allclose(shares[0], shares[1], atol=0.02)


def test_slow_tables_get_one_seed():
    assert list(seeds_of(replace(WINE, slow=True))) == [0]
    assert list(seeds_of(WINE)) == [0, 1, 2, 3, 4]
    assert list(seeds_of(WINE, most=2)) == [0, 1]
    assert list(seeds_of(TABLES["diamonds"])) == [0]


def test_scores_of_probabilities():
    y = np.array([0, 1, 1])
    p = np.array([[1.0, 0.0], [0.5, 0.5], [1.0, 0.0]], dtype=np.float32)
    found = metrics.of_classes(y, np.array([0, 1, 0]), p)
    assert found["accuracy"] == pytest.approx(2 / 3)
    # a probability of 0 counts as 1e-7
    assert found["log_loss"] == pytest.approx((math.log(2) - math.log(1e-7)) / 3, rel=1e-5)
    assert found["auc"] == pytest.approx(0.75)


def test_scores_of_numbers():
    found = metrics.of_numbers(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 3.0]))
    assert found == {"r2": pytest.approx(0.5), "mae": pytest.approx(1 / 3)}


# ---------------------------------------------------------------- what peers read


def test_columns_are_numbers_and_categories_of_the_training_rows():
    X = pd.DataFrame({
        "when": pd.to_datetime(["1970-01-02 12:00", None, "1970-01-05 00:00"]),
        "flag": [True, False, True], "size": [1.0, np.nan, 2.0], "word": ["b", "a", None],
    })  # fmt: skip
    columns = Columns().fit(X)
    Z = columns.transform(X.assign(word=["a", "new", None]))
    assert Z["x0"].tolist()[::2] == [1.5, 4.0]  # days since 1970
    assert Z[["x1", "x2", "x3"]].iloc[0].tolist() == [1.0, 4.0, 12.0]  # January, Friday, noon
    assert Z["x4"].tolist() == [1.0, 0.0, 1.0]
    assert list(Z["x6"].cat.categories) == ["a", "b"]
    assert Z["x6"].isna().tolist() == [False, True, True]


def test_rare_values_share_a_category_where_a_library_limits_them():
    words = pd.DataFrame({"word": ["a"] * 5 + ["b"] * 4 + ["c"] * 2 + ["d", None]})
    Z = Columns(most=3).fit_transform(words)
    assert list(Z["x0"].cat.categories) == ["a", "b", OTHER]
    assert Z["x0"].value_counts()[OTHER] == 3
    assert Z["x0"].isna().sum() == 1


@pytest.mark.parametrize("task", [CLASSIFICATION, REGRESSION])
@pytest.mark.parametrize("name", [n for n in CONTESTANTS if "MLP-TD" not in n and n != "TabM-D"])
def test_contestants_read_categories_dates_and_missing_values(name, task):
    rng = np.random.default_rng(0)
    X = pd.DataFrame({
        "a": np.where(rng.random(80) < 0.2, np.nan, rng.standard_normal(80)),
        "b [x]": rng.choice(["u", "v"], 80),
        "c": pd.Series(rng.choice(["1", "2", "3"], 80)).astype("category"),
        "d": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 99, 80), unit="D"),
    })  # fmt: skip
    X.loc[::9, "b [x]"] = None
    y = rng.integers(0, 3, 80) if task == CLASSIFICATION else rng.standard_normal(80)
    quick = {"CatBoost": {"iterations": 5}}.get(name, {})
    contestant = replace(CONTESTANTS[name], parameters=quick)
    try:
        model = contestant.estimator(Job(task, 0, 1))
    except ModuleNotFoundError as missing:
        pytest.skip(str(missing))
    model.fit(X.iloc[:60], y[:60])
    test = X.iloc[60:].assign(c="new")
    assert model.predict(test).shape == (20,)
    if task == CLASSIFICATION:
        np.testing.assert_allclose(model.predict_proba(test).sum(axis=1), np.ones(20), rtol=1e-5)


# ---------------------------------------------------------------- ranks


MACHINE = json.dumps(
    {"versions": {"numpy": "2"}, "processor": "P", "python": "3", "date": "2026-01-01"}
)


def made_up(scores):
    """Results of contestants in tables: {table: (task, {contestant: (first, second score)})}."""
    rows = []
    for table, (task, found) in scores.items():
        first, second = {CLASSIFICATION: ("log_loss", "accuracy"), REGRESSION: ("mae", "r2")}[task]
        for name, (low, high) in found.items():
            rows.append({
                "table": table, "half": "development", "task": task, "rows": 100, "seed": 0,
                "contestant": name, "parameters": "{}", first: low, second: high,
                "fit_seconds": 2.0, "predict_seconds": 0.1, "threads": 2,
                "machine": MACHINE,
            })  # fmt: skip
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


SCORES = {
    "one": (CLASSIFICATION, {"a": (0.1, 0.9), "b": (0.2, 0.9), "c": (0.3, 0.8)}),
    "two": (REGRESSION, {"a": (5.0, 0.7), "b": (4.0, 0.8), "c": (5.0, 0.1)}),
    "three": (REGRESSION, {"a": (1.0, 0.7), "b": (2.0, 0.8), "c": (3.0, 0.9)}),
}


def test_ranks_with_ties():
    losses, gains = (compare(made_up(SCORES), family, ["a", "b", "c"]) for family in FAMILIES)
    assert losses.ranks.loc["one"].tolist() == [1, 2, 3]
    assert losses.ranks.loc["two"].tolist() == [2.5, 1, 2.5]
    assert losses.means.to_dict() == pytest.approx({"a": 4.5 / 3, "b": 5 / 3, "c": 8.5 / 3})
    assert gains.ranks.loc["one"].tolist() == [1.5, 1.5, 3]
    assert gains.ranks.loc["three"].tolist() == [3, 2, 1]


def test_scores_that_differ_by_rounding_are_ties():
    losses = pd.DataFrame([[0.1 + 0.2, 0.3, 0.4]], columns=list("abc"))
    assert ranked(losses).iloc[0].tolist() == [1.5, 1.5, 3]


def test_tables_that_a_contestant_did_not_finish_are_left_out():
    results = made_up(SCORES)
    failed = (results["table"] == "two") & (results["contestant"] == "c")
    results.loc[failed, ["mae", "r2", "error"]] = [pd.NA, pd.NA, "out of memory"]
    assert list(compare(results, FAMILIES[0], ["a", "b", "c"]).ranks.index) == ["one", "three"]
    assert list(compare(results, FAMILIES[0], ["a", "b"]).ranks.index) == ["one", "two", "three"]


def test_only_seeds_that_all_finished_count():
    again = made_up(SCORES).assign(seed=1)
    again["log_loss"] = 99.0
    some = pd.concat([made_up(SCORES), again[again["contestant"] != "c"]], ignore_index=True)
    assert compare(some, FAMILIES[0], ["a", "b", "c"]).ranks.loc["one"].tolist() == [1, 2, 3]


def test_the_critical_difference_is_that_of_the_paper():
    # Demšar 2006, section 3.2.2: 4 classifiers, 14 data sets, level 0.05: q = 2.569, CD = 1.25
    ranks = pd.DataFrame(np.tile([1.0, 2.0, 3.0, 4.0], (14, 1)), columns=list("abcd"))
    assert Comparison(ranks).critical_difference == pytest.approx(1.25, abs=0.005)
    assert Comparison(ranks).p_value < 1e-6


def test_bars_join_what_cannot_be_told_apart():
    means = pd.Series({"a": 1.0, "b": 1.5, "c": 2.4, "d": 4.0})
    assert pictures.groups(means, 1.0) == [(1.0, 1.5), (1.5, 2.4)]
    assert pictures.groups(means, 0.1) == []


# ---------------------------------------------------------------- running


def test_results_are_kept_and_finished_fits_are_not_repeated(tmp_path):
    path = tmp_path / "results.parquet"
    plan = Plan([WINE], {"fast": FAST}, seeds=2, threads=1)
    lines = []
    assert run(replace(plan, seconds=0.0), Results(path), lines.append) == 2 - len(lines)
    assert run(plan, Results(path), lines.append) == 0
    assert len(lines) == 2
    before = path.stat().st_mtime_ns
    assert run(plan, Results(path), lines.append) == 0
    assert len(lines) == 2
    assert path.stat().st_mtime_ns == before
    found = read(path)
    assert found["error"].isna().all()
    assert (found["accuracy"] > 0.8).all()
    assert (found["fit_seconds"] > 0).all()
    assert list(found["seed"]) == [0, 1]


def test_other_parameters_under_the_same_name_are_refused(tmp_path):
    path = tmp_path / "results.parquet"
    results = Results(path)
    results.add({"table": "wine", "seed": 0, "contestant": "fast", "parameters": '{"max_iter": 9}'})
    with pytest.raises(ValueError, match="another name"):
        run(Plan([WINE], {"fast": FAST}, seeds=1), results)


def test_disturbed_fits_can_run_again(tmp_path):
    results = Results(tmp_path / "results.parquet")
    plan = Plan([WINE], {"fast": FAST}, seeds=3)
    row = {"table": "wine", "contestant": "fast", "parameters": '{"max_iter": 5}'}
    for seed, others in enumerate((0.1, 0.9, None)):  # None: too short to tell
        results.add({**row, "seed": seed, "others": others})
    assert plan.left(results) == []
    again = replace(plan, most_others=0.5)
    assert again.left(results) == again.left(Results(results.path)) == [(WINE, 1, "fast")]


def test_an_error_becomes_a_row_and_the_others_go_on(tmp_path):
    results = Results(tmp_path / "results.parquet")
    plan = Plan([DIABETES], {"broken": BROKEN, "fast": FAST}, seeds=1, threads=1)
    run(plan, results, lambda line: None)
    found = read(results.path).set_index("contestant")
    assert "no_such_parameter" in found.loc["broken", "error"]
    assert pd.isna(found.loc["broken", "r2"])
    assert pd.isna(found.loc["fast", "error"])
    assert plan.left(results) == []
    assert replace(plan, again=True).left(results) == [(DIABETES, 0, "broken")]


@pytest.mark.slow
def test_a_fit_that_takes_too_long_is_ended():
    worker = Worker(ENDLESS, threads=1)
    worker._warm.add(CLASSIFICATION)  # the fit before the first one would not end either
    try:
        assert worker.measure(WINE, 0, limit=3.0) == {"error": "time limit of 3 s"}
        assert worker._process is None
    finally:
        worker.close()


@pytest.mark.slow
def test_a_process_that_dies_is_an_error_and_the_next_fit_gets_another(quiet_worker):
    assert "error" not in quiet_worker.measure(WINE, 0, limit=60)
    os.kill(quiet_worker._process.pid, signal.SIGKILL)
    assert "the process ended" in quiet_worker.measure(WINE, 0, limit=60)["error"]
    assert "error" not in quiet_worker.measure(WINE, 0, limit=60)


@pytest.mark.slow  # a program that imports all models
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")
def test_a_fit_ends_with_the_program():
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    child = int(program.stdout.readline())
    assert becomes_true(lambda: processor_seconds(child) > 4)  # it has imported all, and fits
    program.kill()
    program.wait()
    assert becomes_true(lambda: processor_seconds(child) == 0)


ROOT = Path(__file__).resolve().parent.parent
PROGRAM = """
from benchmarks.tables import contestants, registry, worker
never = {"max_iter": 10**9, "n_iter_no_change": 10**9, "tol": 0.0}
endless = worker.Worker(contestants.Contestant(contestants.scikit_learn_mlp, never), threads=1)
endless._start()
print(endless._process.pid, flush=True)
endless._ask(("measure", registry.TABLES["wine"], 0), 99)
"""


def processor_seconds(pid):
    """Processor time that a process has used; 0 if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0
    return 0 if fields[0] == "Z" else (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def becomes_true(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch):
    results = Results(tmp_path / "results.parquet")
    results.add({"table": "wine", "seed": 0, "contestant": "a"})
    monkeypatch.setattr(pd.DataFrame, "to_parquet", interrupted)
    with pytest.raises(KeyboardInterrupt):
        results.add({"table": "wine", "seed": 1, "contestant": "a"})
    assert list(read(results.path)["seed"]) == [0]
    assert Key("wine", 0, "a") in Results(results.path)


def interrupted(self, path, **options):
    path.write_bytes(b"half of a file")
    raise KeyboardInterrupt


# ---------------------------------------------------------------- the report


def test_the_report_has_ranks_pictures_and_errors(tmp_path):
    results = made_up(SCORES)
    failed = results.iloc[[0]].assign(table="four", error="out of | memory")
    path = report.write(pd.concat([results, failed]), tmp_path, ["a", "b", "c"])
    text = path.read_text()
    assert "| a | 1.50 | 1.00 | 1.75 | 2 |" in text
    assert "| two | 5 | **4** | 5 |" in text
    assert "out of \\| memory" in text
    for name in ("ranks_log_loss", "time_log_loss", "ranks_accuracy", "time_accuracy"):
        assert f"({name}.svg)" in text
        assert "<svg" in (tmp_path / f"{name}.svg").read_text()


def test_the_report_needs_a_common_table(tmp_path):
    with pytest.raises(ValueError, match="No table was finished"):
        report.write(made_up(SCORES), tmp_path, ["a", "b", "c", "d"])


def test_the_commands(tmp_path, capsys):
    path = tmp_path / "results.parquet"
    made_up(SCORES).to_parquet(path)
    main(["report", str(path), "--out", str(tmp_path / "out"), "--contestants", "a,b"])
    assert (tmp_path / "out" / "report.md").exists()
    main(["list"])
    assert "held out:" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="takes names of"):
        main(["report", str(path), "--contestants", "nobody"])


def test_the_page_of_the_site_is_written_from_the_results_in_the_repository(tmp_path):
    written = page.write(tmp_path).read_text()
    assert (page.DOCS / "tables_benchmark.md").read_text() == written, (
        "run `python -m benchmarks.tables page`"
    )
    for name in page.PICTURES.values():
        assert f"({name})" in written
        assert (tmp_path / name).exists()
        assert (page.DOCS / name).exists()


# ---------------------------------------------------------------- the ablation


def test_an_ablation_compares_the_default_with_it_without_an_ingredient(tmp_path, capsys):
    rows = [
        {"table": name, "seed": 0, "task": task, "contestant": who, "fit_seconds": seconds}
        | ({"accuracy": 0.5 + good, "log_loss": 0.4 / (1 + good)} if task == CLASSIFICATION
           else {"r2": 0.5 + good, "mae": 4 / (1 + good)})
        for name, task in (("a", CLASSIFICATION), ("b", REGRESSION))
        for who, good, seconds in (
            ("deltaprop", 0.25, 4.0), ("deltaprop without bins", 0.0, 1.0), ("CatBoost", 0.1, 9.0)
        )
    ]  # fmt: skip
    path = tmp_path / "results.parquet"
    pd.DataFrame(rows).reindex(columns=list(COLUMNS)).astype(COLUMNS).to_parquet(path)
    main(["ablation", str(path)])
    *_, default, without = capsys.readouterr().out.splitlines()
    cells = ["bins", "1.250", "2, 0", "2.00", "-0.2500", "-0.2500", "2, 0", "2.00", "0.25"]
    assert [cell.strip() for cell in without.strip("|").split("|")] == cells
    assert "| 1.00 |" in default
