"""The programs under benchmarks/: same work for all libraries, busy processes, the page."""

import argparse
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import jax
import pytest
from benchmarks import busy, chart, machine, neighbours, page, peers
from benchmarks.problem import PROBLEMS, Problem
from benchmarks.turns import Contest

ROOT = Path(__file__).resolve().parent.parent


def alive(pid):
    """Whether a process still runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def becomes_true(condition, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


linux = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs Linux's /proc")

# ---------------------------------------------------------------- the same work for all


matrix_exponential = next(p for p in PROBLEMS if p.name == "simplechains")
SAME_WORK = [
    Problem("a last batch of 3 rows", (5, 8, 3), batch=20, rows=103, passes=3),
    Problem("one output", (5, 8, 6, 1), batch=20, rows=60, passes=3),
    Problem("sparse", (40, 8, 3), batch=20, rows=60, passes=3, sparse=True),
    replace(matrix_exponential, batch=50, rows=50, passes=7),
]


@pytest.mark.parametrize("peer", ["scikit-learn", "torch", "jax"])
@pytest.mark.parametrize("problem", SAME_WORK, ids=lambda problem: problem.name)
def test_the_last_loss_is_that_of_deltaprop(problem, peer):
    with jax.enable_x64(False):  # other tests in this process may have switched it on
        ours, theirs = (peers.build(name, problem)(0) for name in ("deltaprop", peer))
    # JAX leaves the last batch of 3 of 103 rows out of the mean.
    tolerance = 0.02 if peer == "jax" and problem.rows % problem.batch else 1e-4
    assert theirs == pytest.approx(ours, rel=tolerance)


@linux
@pytest.mark.parametrize("peer", ["deltaprop", "scikit-learn"])
def test_ctrl_c_ends_the_benchmark_although_a_fit_returns_after_it(peer):
    turn = peers.build(peer, Problem("long", (4, 10, 3), batch=32, rows=6400, passes=10_000))
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        turn(0)


@linux
def test_the_default_number_of_threads_is_that_of_the_pinned_cores():
    code = (
        "from benchmarks import machine; machine.pin(1)\n"
        "from deltaprop.engines.fused import processors; print(processors.available())"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_NUM_THREADS"}
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert run.stdout == "1\n", run.stderr


# ---------------------------------------------------------------- busy processes


@linux
@pytest.mark.parametrize("error", [None, ValueError, KeyboardInterrupt])
def test_busy_processes_run_in_the_block_and_end_with_it(error):
    pids = []

    def block():
        with neighbours.running(2) as crowd:
            pids.extend(process.pid for process in crowd.processes)
            assert all(map(alive, pids))
            if error:
                raise error

    with pytest.raises(error) if error else nullcontext():
        block()
    assert len(pids) == 2
    assert not any(map(alive, pids))


@linux
def test_busy_processes_end_if_the_benchmark_is_killed():
    code = (
        "from benchmarks import neighbours\n"
        "with neighbours.running(2) as crowd:\n"
        "    print(*(process.pid for process in crowd.processes), flush=True)\n"
        "    input()"
    )
    program = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    pids = program.stdout.readline().split()
    assert len(pids) == 2
    program.send_signal(signal.SIGKILL)
    program.communicate()
    assert becomes_true(lambda: not any(alive(int(pid)) for pid in pids))


def test_a_busy_process_that_ended_early_is_reported():
    def block():
        with neighbours.running(2) as crowd:
            crowd.processes[0].kill()
            crowd.processes[0].wait()

    with pytest.raises(RuntimeError, match="1 of 2 busy processes ended"):
        block()


@linux
def test_busy_processes_do_not_count_as_other_programs(monkeypatch):
    monkeypatch.setattr(machine, "busy_seconds", lambda: 100.0)
    with neighbours.running(1) as crowd:
        assert becomes_true(lambda: crowd.others_seconds() <= 99.9)


@linux
@pytest.mark.parametrize("how", [["--fork"], pytest.param([], marks=pytest.mark.slow)])
def test_fits_run_in_processes_of_their_own(tmp_path, how):
    command = [
        sys.executable, "-m", "benchmarks.busy", "--case", "tiny", "--contestants", "floor-1",
        "--busy", "0", "--processes", "2", "--fits", "2", "--json", str(tmp_path / "out.json"),
        *how,
    ]  # fmt: skip
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (case,) = json.loads((tmp_path / "out.json").read_text())["fresh_processes"]
    processes = case["contestants"]["floor-1"]["processes"]
    assert [len(process["seconds"]) for process in processes] == [2, 2]


def test_a_process_that_fails_or_takes_too_long_is_reported():
    fit = {"seconds": 0.1}
    assert busy.result([fit, fit], 0, "", 5) == {"first": 0.1, "seconds": [0.1], "stopped": False}
    late = busy.result([fit], -signal.SIGALRM, "", 5)
    assert late == {"first": 0.1, "seconds": [5], "stopped": True}
    assert busy.result([], 1, "no such library", 5) == {"error": "no such library"}
    assert busy.result([fit, {"error": "diverged"}], 0, "", 5) == {"error": "diverged"}


def test_timed_turns_run_beside_busy_processes_and_first_turns_do_not(monkeypatch):
    started, seen = [], []
    real = neighbours.running
    monkeypatch.setattr(neighbours, "running", lambda n: started.append(n) or real(n))

    def fails(t):
        if t:
            raise ValueError("in turn 1")

    def build(turn):
        return lambda: turn

    contest = Contest(
        {"ours": build(lambda t: seen.append((t, sum(started)))), "failing": build(fails)}
    )
    assert seen == [(0, 0)]
    times, _ = contest.take_turns(2, busy=1)
    assert seen[1:] == [(1, 1), (2, 1)]
    assert len(times["ours"].seconds) == 2
    assert times["failing"].error == "ValueError: in turn 1"


def test_a_slow_contestant_takes_fewer_turns():
    contest = Contest({"slow": lambda: lambda t: time.sleep(0.02), "fast": lambda: lambda t: None})
    times, _ = contest.take_turns(4, seconds=0.03)
    assert len(times["slow"].seconds) == 2
    assert len(times["fast"].seconds) == 4


# ---------------------------------------------------------------- fresh processes


def process(first, *seconds, stopped=False):
    return {"first": first, "seconds": list(seconds), "stopped": stopped}


def test_a_contestant_is_summarized_by_its_median_and_its_slowest_process():
    of_three = busy.summary([process(9, 1, 2, 9), process(5, 4), process(7, 3, 3)])
    assert (of_three["median"], of_three["worst"]) == (3, 4)
    assert (of_three["first"], of_three["worst_first"]) == (7, 9)
    assert busy.summary([process(1, 1), {"error": "no compiler"}]) == {"error": "no compiler"}


def test_our_default_is_compared_with_the_better_of_one_and_two_threads():
    result = {
        "contestants": {
            "deltaprop": busy.summary([process(1, 1.1), process(1, 1.3)]),
            "deltaprop-1": busy.summary([process(1, 1.0), process(1, 1.0)]),
            "deltaprop-2": busy.summary([process(1, 0.7), process(1, 3.3)]),
        }
    }
    assert busy.over_better(result, "median") == pytest.approx(1.2)
    assert busy.over_better(result, "worst") == pytest.approx(1.3)
    del result["contestants"]["deltaprop-2"]
    assert busy.over_better(result, "median") is None


def test_a_process_is_stopped_at_the_limit():
    options = argparse.Namespace(threads=1, fits=1, seconds=1, limit=0.01)
    started = busy.Processes("tiny", options).fresh("scikit-learn-1")
    tiny = busy.result(*started, options.limit)
    assert tiny == {"first": 0.01, "seconds": [0.01], "stopped": True}
    assert busy.at_least(busy.summary([tiny, process(1, 1)])) == "≥ "
    assert busy.at_least(busy.summary([process(1, 1)])) == ""


# ---------------------------------------------------------------- the programs and the page


def program(*arguments, folder):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    run = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout


def cells(text, start):
    """Return the cells of the table row that starts with this text."""
    row = next(line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


@pytest.mark.slow
def test_the_programs_write_the_page(tmp_path):
    cases = program("benchmarks", "--quick", "--threads", "1", "--case", "tiny", "--peers",
                    "jax", "--busy", "1", "--json", "cases.json",
                    folder=tmp_path)  # fmt: skip
    assert "beside 1 busy process" in cases
    fits = program("benchmarks.busy", "--case", "tiny", "--contestants", "deltaprop", "deltaprop-1",
                   "deltaprop-2", "--processes", "1", "--fits", "1", "--threads", "1", "--busy",
                   "1", "--json", "fits.json", folder=tmp_path)  # fmt: skip
    assert "the better of 1 and 2 threads" in fits
    program("benchmarks.page", "page.md", "cases.json", "fits.json", folder=tmp_path)
    text = (tmp_path / "page.md").read_text(encoding="utf-8")
    tiny = json.loads((tmp_path / "cases.json").read_text())["cases"][0]["contestants"]
    assert cells(text, "tiny: 4 → 10 → 3, batch 32")[2] == f"{tiny['jax']['over_ours']:.2f}"
    assert "python -m benchmarks --quick --threads 1 --case tiny" in text
    assert "python -m benchmarks.page page.md cases.json fits.json" in text
    assert "### Beside 1 busy process\n" in text


def fresh(number, **seconds):
    contestants = {name: busy.summary([process(1, s) for s in of]) for name, of in seconds.items()}
    return {"name": "tiny", "title": "tiny: 4 → 10 → 3", "busy": number,
            "processors_used_by_others": 0.04, "contestants": contestants}  # fmt: skip


def case(number, name="tiny", **medians):
    contestants = {
        peer: {"median": median, "over_ours": median and median / medians["deltaprop"]}
        for peer, median in medians.items()
    }
    return {"name": name, "title": name, "unit": "s", "busy": number,
            "processors_used_by_others": None, "contestants": contestants}  # fmt: skip


def report(**records):
    facts = {"date": "2026-01-02T03:04", "used": 2, "processors": 8, "processor": "a CPU",
             "python": "3.11", "versions": {"jax": "1.0"}}  # fmt: skip
    settings = {"threads": 2, "turns": 5, "processes": 3, "fits": 5, "limit": 20}
    return {"command": "the command", "machine": facts, "settings": settings, **records}


def test_the_page_shows_every_measurement():
    fits = [fresh(2, deltaprop=[1, 2, 4]), fresh(0, deltaprop=[0.125], jax=[0.5])]
    cases = [case(0, deltaprop=2.0, jax=3.0, torch=None), case(0, "simplechains", deltaprop=11.0)]
    text = page.rendered(
        [report(cases=cases), report(fresh_processes=fits)], "python -m benchmarks.page"
    )
    assert cells(text, "busy processes")[:3] == ["busy processes", "deltaprop", "jax"]
    assert cells(text, "0") == ["0", "0.125 (0.125)", "0.5 (0.5)", ""]
    assert cells(text, "2") == ["2", "2 (4)", "", ""]
    assert text.index("| 0 |") < text.index("| 2 |")
    assert cells(text, "tiny") == ["tiny", "2 s", "1.50"]
    assert cells(text, "here, no busy processes") == ["here, no busy processes", "deltaprop", "11"]
    assert "SimpleChains.jl | 0.41 |" in text
    assert text.count("2 of 8 cores, a CPU") == 1
    assert "up to 0.0 of these cores" in text
    assert not re.search(r"[{}]", text)


def test_the_chart_shows_quiet_cores():
    quiet, loud = case(0, deltaprop=2.0, jax=3.0), case(2, deltaprop=2.0, jax=8.0)
    facts = report()["machine"]
    assert chart.svg([loud, quiet], facts) == chart.svg([quiet], facts)


def test_the_page_in_docs_is_that_of_the_results_in_the_repository():
    text = Path("docs/benchmarks.md").read_text()
    command = next(line for line in text.splitlines() if "benchmarks.page" in line)
    reports = [json.loads(Path(name).read_text()) for name in command.split() if "json" in name]
    assert page.rendered(reports, command) == text


def test_the_page_needs_results_of_both_programs():
    with pytest.raises(SystemExit, match="expected a file of"):
        page.rendered([report(cases=[case(0, deltaprop=2.0)])], "")
