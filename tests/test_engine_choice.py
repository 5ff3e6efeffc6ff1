"""engine="auto": what runs a search while the fused engine is or is not compiled, and where it is
kept. Each test has a cache folder of its own."""

import json
import os
import subprocess
import sys
import textwrap
import warnings

import numpy as np
import pytest

import deltaprop as dp
from deltaprop.engines.fused import compiling, objects, units


def in_new_process(code, cache, **environment):
    """What `code` prints last, as JSON, in a process whose cache folder is `cache`."""
    run = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "-c", textwrap.dedent(code)],
        env=os.environ | {"XDG_CACHE_HOME": str(cache), "HOME": str(cache)} | environment,
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.strip().splitlines()[-1])


SMALL_JOB = """
    import json, sys, time
    import numpy as np
    import deltaprop as dp
    from deltaprop.engines.fused import compiling

    X = np.random.RandomState(0).randn(100, 4)
    net = dp.Network(4, [dp.Dense(5, "tanh"), dp.Dense(1)], loss="huber", seed=0)
    started = time.perf_counter()
    dp.fit(net, X, X[:, 0], max_epochs=2)
    waited = time.perf_counter() - started
    """


def test_a_search_over_plain_arrays_imports_no_other_library(tmp_path):
    """scikit-learn and SciPy take ten times as long to import as a small network to train."""
    code = """
    import json, sys
    import numpy as np
    import deltaprop as dp

    X = np.random.RandomState(0).randn(100, 4)
    net = dp.Network(4, [dp.Dense(5, "relu"), dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
    dp.fit(net, X, (X[:, 0] > 0).astype(int), max_epochs=2)
    net.predict(X)
    print(json.dumps(sorted({"sklearn", "scipy", "pandas", "jaxtyping"} & {*sys.modules})))
    """
    assert in_new_process(code, tmp_path / "cache") == []


def test_what_is_compiled_beforehand_is_all_that_a_network_needs():
    net = dp.Network(4, [dp.Dense(5, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy")
    assert {unit.key for unit in units.of(net, "float64")} <= {
        unit.key for unit in compiling.built_in()
    }


@pytest.mark.slow  # it compiles the engine
def test_a_small_job_does_not_wait_and_a_later_one_is_compiled(tmp_path):
    """Cold: the reference engine at once, without Numba. Then another process has compiled."""
    cold = SMALL_JOB + """
    imported = "numba" in sys.modules
    kinds = []
    def note(event):
        time.sleep(0.05)
        return not compiling.needed(net, X)
    dp.fit(net, X, X[:, 0], max_epochs=10**6, patience=np.inf, callbacks=[note])
    dp.fit(net, X, X[:, 0], max_epochs=3, patience=np.inf)
    print(json.dumps([waited, imported, "numba" in sys.modules, compiling._child[-1].wait()]))
    """  # fmt: skip
    waited, imported, imported_later, code = in_new_process(cold, tmp_path / "cache")
    assert waited < 3
    assert not imported
    assert not imported_later
    assert code == 0
    warm = (
        SMALL_JOB
        + """
    print(json.dumps([waited, "numba" in sys.modules, len(compiling._child)]))
    """
    )
    waited, imported, children = in_new_process(warm, tmp_path / "cache")
    assert not imported
    assert children == 0


@pytest.mark.slow  # it compiles the engine
def test_the_search_changes_engines_between_epochs_and_goes_on(tmp_path):
    """Reference epochs, then fused ones: the same parameters to rounding."""
    code = (
        SMALL_JOB
        + """
    from deltaprop.data.rows import Rows
    from deltaprop.engines import Run, get
    from deltaprop.engines.auto import HandingOver
    from deltaprop.engines.fused.trainer import FusedTrainer
    from deltaprop.engines.protocol import RATES
    from deltaprop.engines.reference import ReferenceTrainer
    from deltaprop.optim.state import TrainingState
    from deltaprop.training.settings import Settings

    thetas = []
    for change in (None, 2):
        net = dp.Network(4, [dp.Dense(5, "tanh", 0.3), dp.Dense(1)], loss="huber", seed=0)
        state, seen = TrainingState(dropout_seed=1), []
        run = Run(Settings().chain(), batch_size=10, state=state, max_epochs=4)
        rows = Rows(X, X[:, 0])
        def fused():
            seen.append(1)
            return get("fused").trainer(net, rows, run) if len(seen) == change else None
        trainer = HandingOver(get("reference").trainer(net, rows, run), fused)
        for _ in range(4):
            rates = np.ones(10, RATES)
            rates["learning_rate"] = 0.01
            trainer.run([None], [rates])
        thetas.append(net.theta)
        kind = ReferenceTrainer if change is None else FusedTrainer
        assert isinstance(trainer._trainer, kind)
    print(json.dumps(float(abs(thetas[0] - thetas[1]).max())))
    """
    )
    assert in_new_process(code, tmp_path / "cache") < 1e-9


@pytest.mark.slow  # it compiles the engine
def test_nowhere_to_write_is_no_obstacle(tmp_path):
    """A read-only home: small jobs on the reference engine, and engine="fused" compiles anew."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    code = (
        SMALL_JOB
        + """
    dp.fit(net, X, X[:, 0], max_epochs=2, engine="fused")
    print(json.dumps([len(compiling._child), bool(np.isfinite(net.theta).all())]))
    """
    )
    nowhere = {name: str(blocked / "x") for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
    children, finite = in_new_process(
        "import tempfile; tempfile.tempdir = '/proc/nowhere'\n" + textwrap.dedent(code),
        blocked / "x", **nowhere,
    )  # fmt: skip
    assert children == 0
    assert finite


def a_unit():
    return units.gather("int8", "float32")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache folder of its own that holds one unit, forgotten by this process."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(objects, "folders", lambda: [folder])
    monkeypatch.setattr(objects, "_addresses", {})
    objects.addresses(a_unit())
    monkeypatch.setattr(objects, "_addresses", {})
    return folder


def counted(monkeypatch):
    calls, compiled = [], objects._compiled
    monkeypatch.setattr(objects, "_compiled", lambda unit: calls.append(unit) or compiled(unit))
    return calls


def test_a_kept_unit_is_read_not_compiled(cache, monkeypatch):
    calls = counted(monkeypatch)
    assert objects.ready(a_unit())
    assert objects.addresses(a_unit())["gather"]
    assert calls == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "other"])
def test_a_damaged_file_is_compiled_anew(damage, cache, monkeypatch):
    (path,) = cache.glob("*.o")
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 1
    path.write_bytes({"cut": data[:-100], "empty": b"", "other": b"x" * 500}.get(damage, data))
    calls = counted(monkeypatch)
    assert objects.addresses(a_unit())["gather"]
    assert len(calls) == 1
    monkeypatch.setattr(objects, "_addresses", {})
    assert objects.addresses(a_unit())["gather"]
    assert len(calls) == 1


@pytest.mark.skipif(not hasattr(os, "getuid"), reason="POSIX permissions")
def test_machine_code_others_could_have_written_is_not_run(cache, monkeypatch):
    cache.chmod(0o777)
    calls = counted(monkeypatch)
    objects.addresses(a_unit())
    assert len(calls) == 1


def test_a_changed_function_is_another_unit():
    def unit(k, inner):
        f = dp.Activation("mine", lambda a, xp: k * inner(a, xp), lambda a, z, xp: k * a)
        return units.activation(f, "float64").key

    def one(a, xp):
        return xp.sin(a)

    def two(a, xp):
        return xp.cos(a)

    assert unit(2.0, one) == unit(2.0, one)
    assert len({unit(2.0, one), unit(3.0, one), unit(2.0, two)}) == 3
    assert units.kernel("float32").key != units.kernel("float64").key


def test_own_functions_that_no_file_can_describe_are_compiled_each_time():
    class Settings:
        pass

    settings = Settings()
    f = dp.Activation("mine", lambda a, xp: a, lambda a, z, xp: 1 + 0 * a)
    g = dp.Activation("mine", lambda a, xp: a, lambda a, z, xp, s=settings: 1 + 0 * a)
    assert units.activation(f, "float64").key is not None
    assert units.activation(g, "float64").key is None


def test_functions_that_numba_does_not_take_run_on_the_reference_engine():
    table = np.arange(3.0)
    f = dp.Activation("indexed", lambda a, xp: a + table[1], lambda a, z, xp: 1 + 0 * a)
    thetas = []
    for engine in ("fused", "fused", "auto", "reference"):
        net = dp.Network(2, [dp.Dense(3, f), dp.Dense(1)], loss="huber", seed=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            dp.fit(net, np.ones((4, 2)), np.ones(4), engine=engine, max_epochs=3)
            assert net.predict(np.ones((30, 2))).shape == (30, 1)
        said = [str(w.message) for w in caught if "reference engine" in str(w.message)]
        assert len(said) == (not thetas)  # once
        assert all("Numba cannot compile 'indexed'" in message for message in said)
        thetas.append(net.theta)
    np.testing.assert_array_equal(thetas[0], thetas[-1])


def test_what_is_said_on_a_terminal(monkeypatch, capsys, cache):
    from deltaprop.engines.fused import compiling

    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    compiling.compile_all([units.gather("bool", "float32")])
    assert "compiling for this machine, once" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False)
    monkeypatch.setattr(objects, "_addresses", {})
    compiling.compile_all([units.gather("bool", "float32")])
    assert capsys.readouterr().err == ""
