"""Failures of disk, memory and network at every operation, and kills: nothing is half done."""

import errno
import gzip
import random
import signal
import socket
import socketserver
import subprocess
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import deltaprop as dp
from deltaprop.data.reading import TableError, places
from deltaprop.data.writing import written_to
from deltaprop.inspect.report import Report
from deltaprop.storage import checkpoint_files
from deltaprop.storage.places import OutputError
from deltaprop.tables import read_table

from .faults import FailingDisk, FailingMemory

rng = np.random.RandomState(0)
X = rng.rand(60, 4)
Y = (X[:, 0] > 0.5).astype(int)
FRAME = pd.DataFrame({"a": range(5000), "b": [f"word {i}" for i in range(5000)]})
ERRORS = {"ENOSPC": errno.ENOSPC, "EIO": errno.EIO, "EROFS": errno.EROFS, "EDQUOT": errno.EDQUOT}


def network(seed=0):
    layers = [dp.Dense(6, "tanh", 0.1), dp.Dense(2, "softmax")]
    return dp.Network(4, layers, loss="cross_entropy", reduction="mean", seed=seed)


def classifier(**settings):
    return dp.MLPClassifier(5, max_iter=3, engine="reference", random_state=0, **settings)


INJECTED = Counter()


@pytest.fixture(scope="module", autouse=True)
def counts():
    """Print how many faults were injected: ``pytest -s tests/test_faults.py``."""
    yield
    print(f"\nfaults injected: {dict(INJECTED)}")


# ---------------------------------------------------------------- disk: one file


def write_rows(path):
    with written_to(path) as write:
        for first in range(0, 5000, 1000):
            write(FRAME[first : first + 1000])


WRITERS = {
    "a network": (lambda path: dp.save(network(), path), "m.dp"),
    "an estimator": (lambda path: dp.save(classifier().fit(X, Y), path), "m.dp"),
    "a report": (lambda path: Report("<html>" * 5000).save(path), "r.html"),
    "predictions as CSV": (write_rows, "p.csv"),
    "predictions as TSV": (write_rows, "p.tsv"),
    "predictions as JSON Lines": (write_rows, "p.jsonl"),
    "predictions as Parquet": (write_rows, "p.parquet"),
}


@pytest.mark.parametrize("fault", ERRORS)
@pytest.mark.parametrize("what", WRITERS)
def test_a_disk_that_fails_anywhere_leaves_the_old_file(what, fault, tmp_path):
    write, name = WRITERS[what]
    path = tmp_path / name
    with FailingDisk(tmp_path).installed() as disk:
        write(path)
    path.write_bytes(b"old")
    assert {"create", "open", "write", "close", "fsync", "chmod", "replace"} <= {*disk.operations}
    for number, operation in enumerate(disk.operations):
        failing = FailingDisk(tmp_path, number, ERRORS[fault])
        INJECTED["disk"] += 1
        if number > disk.operations.index("replace"):
            with failing.installed():
                write(path)  # only the flush of the folder fails
            assert path.read_bytes() != b"old"
            path.write_bytes(b"old")
            continue
        with failing.installed(), pytest.raises(OutputError, match=rf"{name}' could not be"):
            write(path)
        assert path.read_bytes() == b"old", operation
        assert [file.name for file in tmp_path.iterdir()] == [name], operation


# ---------------------------------------------------------------- disk: checkpoints


def train(folder, max_epochs=3):
    net = network()
    checkpoint = dp.Checkpoint(folder, seconds=None, steps=4, keep=2)
    dp.fit(
        net, X, Y, engine="reference", batch_size=10, max_epochs=max_epochs, checkpoint=checkpoint,
        seed=0,
    )  # fmt: skip
    return net


def operations_of_training(folder):
    with FailingDisk(folder).installed() as disk:
        train(folder / "undisturbed")
    return disk.operations


@pytest.mark.parametrize("forever", [False, True])
@pytest.mark.parametrize("fault", ERRORS)
def test_a_disk_that_fails_costs_a_checkpoint_and_training_resumes(fault, forever, tmp_path):
    operations = operations_of_training(tmp_path)
    expected = train(tmp_path / "undisturbed").theta
    assert operations[0] == "mkdir"
    assert len(operations) > 30
    step = 4 if forever else 1 if fault == "ENOSPC" else 7
    for number in range(1, len(operations), step):
        folder = tmp_path / f"run{number}"
        folder.mkdir()
        disk = FailingDisk(folder, number, ERRORS[fault], forever)
        INJECTED["disk"] += 1
        with disk.installed(), warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            net = train(folder)
        np.testing.assert_array_equal(net.theta, expected)
        said = " ".join(str(warning.message) for warning in caught)
        is_flush = operations[number] == "fsync" and operations[number - 1] == "replace"
        is_of_lock = number < operations.index("create")
        is_after_all = number > max(k for k, op in enumerate(operations) if op == "replace")
        is_harmless = is_after_all or ((is_flush or is_of_lock) and not forever)
        assert is_harmless or "Training continues without this checkpoint" in said
        for file in folder.iterdir():
            checkpoint_files.decoded(str(file), file.read_bytes())
        np.testing.assert_array_equal(train(folder).theta, expected)


@pytest.mark.parametrize("fault", ERRORS)
def test_a_checkpoint_folder_that_cannot_be_made_is_an_error_before_training(fault, tmp_path):
    disk = FailingDisk(tmp_path, 0, ERRORS[fault])
    with disk.installed(), pytest.raises(OutputError, match=r"folder .* cannot be written to"):
        train(tmp_path / "run")


# ---------------------------------------------------------------- memory


def test_an_estimator_is_unchanged_after_any_failed_allocation_of_fit():
    model = classifier().fit(X, Y)
    before = model.predict_proba(X)
    with FailingMemory().installed() as memory:
        classifier().fit(X[::-1], Y)
    assert memory.allocations > 30
    for number in range(memory.allocations):
        failing = FailingMemory(number)
        INJECTED["memory"] += 1
        with failing.installed(), pytest.raises(MemoryError, match="no memory for np"):
            model.fit(X[::-1], Y)
        np.testing.assert_array_equal(model.predict_proba(X), before)


def test_any_failed_allocation_of_loading_and_saving_is_a_memory_error(tmp_path):
    path, model = tmp_path / "m.dp", classifier().fit(X, Y)
    dp.save(model, path)
    content = path.read_bytes()
    for act in (lambda: dp.load(path), lambda: dp.save(model, path)):
        with FailingMemory().installed() as memory:
            act()
        for number in range(memory.allocations):
            failing = FailingMemory(number)
            INJECTED["memory"] += 1
            with failing.installed(), pytest.raises(MemoryError, match="no memory for np"):
                act()
            assert path.read_bytes() == content
            assert list(tmp_path.iterdir()) == [path]


@pytest.mark.filterwarnings("ignore::deltaprop.tables.TableWarning")
@pytest.mark.parametrize("name", ["semicolon_decimal_comma.csv", "people.parquet", "records.json"])
def test_any_failed_allocation_of_reading_is_a_memory_error(name):
    path = Path(__file__).parent / "tables" / name
    with FailingMemory().installed() as memory:
        expected = read_table(path)
    for number in range(memory.allocations):
        failing = FailingMemory(number)
        INJECTED["memory"] += 1
        with failing.installed(), pytest.raises(MemoryError, match="no memory for np"):
            read_table(path)
    pd.testing.assert_frame_equal(read_table(path), expected)


def test_training_resumes_after_any_failed_allocation(tmp_path):
    expected = train(tmp_path / "undisturbed").theta
    with FailingMemory().installed() as memory:
        train(tmp_path / "counted")
    for number in range(0, memory.allocations, 1 + memory.allocations // 30):
        folder = tmp_path / f"run{number}"
        failing = FailingMemory(number)
        INJECTED["memory"] += 1
        with failing.installed(), pytest.raises(MemoryError, match="no memory for np"):
            train(folder)
        np.testing.assert_array_equal(train(folder).theta, expected)


# ---------------------------------------------------------------- network

CSV = b"a,b\n" + b"".join(b"%d,%d\n" % (i, i * i) for i in range(2000))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/csv\r\n"
LENGTH = HEAD + b"Content-Length: %d\r\n\r\n" % len(CSV)
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
REDIRECT = b"HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\n\r\n"
SILENCE, RESET = object(), object()
FAULTS = {
    "nothing": [b""],
    "reset before the head": [RESET],
    "silence": [SILENCE],
    "half a head": [LENGTH[:20]],
    "half a head, then silence": [LENGTH[:20], SILENCE],
    "another protocol": [b"220 smtp.example ESMTP\r\n"],
    "half the body": [LENGTH + CSV[: len(CSV) // 2]],
    "half the body, then a reset": [LENGTH + CSV[: len(CSV) // 2], RESET],
    "half the body, then silence": [LENGTH + CSV[: len(CSV) // 2], SILENCE],
    "all but the last byte": [LENGTH + CSV[:-1]],
    "half a chunk": [CHUNKED + b"ff\r\n" + CSV[:50]],
    "chunks without an end": [CHUNKED + b"32\r\n" + CSV[:50] + b"\r\n"],
    "a chunk of no length": [CHUNKED + b"x\r\n" + CSV[:50]],
    "half of a compressed table": [
        HEAD + b"Content-Length: 500\r\n\r\n" + gzip.compress(CSV)[:500]
    ],
    "an empty table": [HEAD + b"Content-Length: 0\r\n\r\n"],
    "an error": [b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\noops"],
    "redirected forever": [REDIRECT],
}  # fmt: skip


@pytest.fixture
def server():
    """A server that answers all requests with `answers`."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(10_000)
            for part in self.server.answers:
                if part is SILENCE:
                    self.server.silent.wait(10)
                elif part is RESET:
                    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.request.close()
                    return
                else:
                    self.request.sendall(part)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def shutdown_request(self, request):
            if RESET not in self.answers:
                super().shutdown_request(request)

        def handle_error(self, request, client_address):
            """The reader closed the connection."""

    with Server(("127.0.0.1", 0), Handler) as serving:
        serving.silent = threading.Event()
        threading.Thread(target=serving.serve_forever, args=(0.02,), daemon=True).start()
        serving.url = f"http://127.0.0.1:{serving.server_address[1]}/table.csv"
        yield serving
        serving.silent.set()
        serving.shutdown()


def test_the_server_of_these_tests_serves_a_table(server):
    server.answers = [LENGTH, CSV]
    assert read_table(server.url).shape == (2000, 2)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_network_that_fails_is_one_clear_error(fault, server, monkeypatch):
    monkeypatch.setattr(places, "SECONDS", 0.3)
    server.answers = FAULTS[fault]
    INJECTED["network"] += 1
    with pytest.raises(TableError, match=r"table\.csv'"):
        read_table(server.url)


def test_a_server_that_is_not_there_is_one_clear_error():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    with pytest.raises(TableError, match=r"cannot be read: .*refused"):
        read_table(f"http://127.0.0.1:{port}/table.csv")


# ---------------------------------------------------------------- kill -9

WRITING = """
import sys
import pandas as pd
from deltaprop.data.writing import written_to
frame = pd.DataFrame({"a": range(20_000)})
print("ready", flush=True)
while True:
    with written_to(sys.argv[1]) as write:
        for _ in range(5):
            write(frame)
"""


def kill_while_writing(n, path, chance):
    for _ in range(n):
        process = subprocess.Popen(
            [sys.executable, "-c", WRITING, str(path)], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout.readline() == "ready\n"
        while not path.exists():
            time.sleep(0.002)
        time.sleep(chance.random() * 0.1)
        process.send_signal(signal.SIGKILL)
        INJECTED["kill -9"] += 1
        process.communicate(timeout=60)
        assert read_table(path).shape == (100_000, 1)


@pytest.mark.parametrize("name", ["p.csv", "p.parquet"])
def test_kill_9_while_writing_predictions_leaves_a_whole_table(name, tmp_path):
    kill_while_writing(2, tmp_path / name, random.Random(0))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["p.csv", "p.jsonl", "p.parquet"])
def test_50_times_kill_9_while_writing_predictions(name, tmp_path):
    kill_while_writing(50, tmp_path / name, random.Random(1))
