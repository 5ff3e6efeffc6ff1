"""What is fuzzed: a target takes bytes of a stranger and may raise its documented errors only."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import deltaprop as dp
from deltaprop.data.reading import TableError
from deltaprop.errors import InputError
from deltaprop.files import ModelFileError
from deltaprop.page.live import explore
from deltaprop.page.subject import network_subject
from deltaprop.plan.light import LightModel
from deltaprop.serving.arrow_bodies import arrow_stream, read_arrow
from deltaprop.serving.json_bodies import read_json
from deltaprop.serving.problems import Refused
from deltaprop.serving.served import Asked, Served
from deltaprop.serving.v2 import read_v2, response
from deltaprop.storage import checkpoint_files
from deltaprop.storage.format import pack, unpack
from deltaprop.tables import read_table

from . import mutations

TESTS = Path(__file__).parents[1] / "tests"
MOST_SEED_BYTES = 60_000
MOST_ROWS = 50  # of a request
SMALL = 8_000  # bytes of a model file of one network or MLP estimator

warnings.simplefilter("ignore")


@dataclass(frozen=True)
class Target:
    """What takes bytes of a stranger.

    Attributes
    ----------
    seeds : list of bytes
        Valid inputs, of which all others are mutations.
    mutate : callable
    run : callable
        Takes an input.
    allowed : tuple of exception classes
        The documented errors.
    """

    seeds: list[bytes]
    mutate: mutations.Mutation
    run: Callable[[bytes], None]
    allowed: tuple[type[Exception], ...]


def folder() -> Path:
    """A folder of this process in memory, if there is one."""
    shared = Path("/dev/shm")
    inside = shared if os.access(shared, os.W_OK) else None
    return Path(tempfile.mkdtemp(prefix="deltaprop-fuzz-", dir=inside))


def _small_files(where: Path, pattern: str, most: int = MOST_SEED_BYTES) -> list[Path]:
    return sorted(file for file in where.glob(pattern) if file.stat().st_size <= most)


# ---------------------------------------------------------------- files of models


def models() -> Target:
    """Model files: a network or MLP estimator that loads must also predict."""
    path = folder() / "m.dp"
    seeds = _small_files(TESTS / "compatibility" / "models", "*.dp.bin", SMALL)

    def run(data: bytes) -> None:
        path.write_bytes(data)
        _use_lightly(path)
        model = dp.load(path)
        D = getattr(model, "n_features_in_", None) or getattr(model, "n_features", 0)
        if 0 < D <= 1000:
            found = model.predict(np.ones((2, D)))
            assert len(found) == 2, f"2 rows gave {len(found)} predictions"

    return Target(
        [file.read_bytes() for file in seeds], mutations.of_safetensors, run, (ModelFileError,)
    )


def _use_lightly(path: Path) -> None:
    """Load a model for predictions only; it must also predict, or name what it does not accept."""
    with contextlib.suppress(ModelFileError):
        light = dp.load(path, light=True)
        if isinstance(light, LightModel) and len(light.feature_names_in_) <= 1000:
            with contextlib.suppress(InputError):
                found = light.predict(np.ones((2, len(light.feature_names_in_))))
                assert len(found) == 2, f"2 rows gave {len(found)} predictions"


def tabular() -> Target:
    """Model files with the preprocessing of a table; loading one predicts once."""
    path = folder() / "m.dp"
    found = _small_files(TESTS / "compatibility" / "models", "tabular*.dp.bin")

    def run(data: bytes) -> None:
        path.write_bytes(data)
        _use_lightly(path)
        dp.load(path)

    return Target(
        [*_new_tabular_models(), *(file.read_bytes() for file in found)],
        mutations.of_safetensors, run, (ModelFileError,),
    )  # fmt: skip


def _new_tabular_models() -> list[bytes]:
    """What this version writes, which may differ from the files of earlier versions."""
    import pandas as pd
    from sklearn.multioutput import MultiOutputClassifier

    n = 40
    rng = np.random.RandomState(0)
    table = pd.DataFrame({
        "size": rng.rand(n), "colour": rng.choice(["red", "blue"], n),
        "when": pd.date_range("2021-01-01", periods=n).astype(str),
        "note": [f"some words {i}" for i in range(n)],
    })  # fmt: skip
    path, found = folder() / "t.dp", []
    for model, y in (
        (dp.TabularRegressor(4, max_iter=2, random_state=0), rng.rand(n)),
        (dp.TabularClassifier(4, max_iter=2, random_state=0), rng.choice(["a", "b"], n)),
    ):
        dp.save(model.fit(table, y), path)
        found.append(path.read_bytes())
    several = MultiOutputClassifier(dp.MLPClassifier(3, max_iter=2, random_state=0))
    numbers = table[["size"]].assign(other=rng.rand(n))
    dp.save(several.fit(numbers, rng.choice(["a", "b", "c"], (n, 2))), path)
    return [*found, path.read_bytes()]


def checkpoints() -> Target:
    """Checkpoint folders, with a correct digest: an attacker can compute it as well.

    The first byte chooses the settings of the training run.
    """
    X, where = np.random.RandomState(0).rand(30, 3), folder()
    runs: list[dict[str, Any]] = [
        {}, {"validation": 0.3}, {"solver": dp.SGD(0.1)}, {"ema_decay": 0.9},
    ]  # fmt: skip

    def fit(number: int) -> None:
        net = dp.Network(
            3, [dp.Dense(4, "tanh", 0.1), dp.Dense(2, "softmax")], loss="cross_entropy", seed=0
        )
        dp.fit(
            net, X, (X[:, 0] > 0.5).astype(int), engine="reference", batch_size=10, max_epochs=2,
            checkpoint=dp.Checkpoint(where, seconds=None, keep=50), seed=0,
            **runs[number % len(runs)],
        )  # fmt: skip

    def seeds() -> Iterator[bytes]:
        for number in range(len(runs)):
            fit(number)
            for path in sorted(where.iterdir()):
                yield bytes([number]) + path.read_bytes()
            _empty(where)

    def run(data: bytes) -> None:
        _empty(where)
        (where / "checkpoint-00000001.dp").write_bytes(_signed(data[1:]))
        fit(data[0] if data else 0)

    mutate = _behind_first_byte(mutations.of_safetensors)
    return Target([*seeds()], mutate, run, (InputError,))


def _empty(where: Path) -> None:
    for path in where.iterdir():
        path.unlink()


def _signed(data: bytes) -> bytes:
    """The same content with its correct digest, if it is a safetensors file."""
    try:
        metadata, tensors = unpack(data)
        header = metadata["deltaprop"]
        digest = checkpoint_files._digest(header, tensors)
        return pack(tensors, {**metadata, "digest": digest})
    except Exception:  # not a file that can be signed
        return data


# ---------------------------------------------------------------- tables

TEXTS = (".csv", ".tsv", ".txt", ".dat", ".json", ".jsonl", "")
BINARIES = (".parquet", ".feather", ".arrow", ".xlsx", ".ods", ".sqlite", ".gz", ".zip", ".zst",
            ".xz", ".bz2", ".xls")  # fmt: skip


def texts() -> Target:
    """Tables in text and JSON; the first byte chooses the ending of the name."""

    def mutate(data: bytes, rng: random.Random) -> bytes:
        is_json = _ending(data, TEXTS).startswith(".json")
        change = mutations.of_json_text if is_json else mutations.of_text
        return _behind_first_byte(change)(data, rng)

    return _tables(TEXTS, mutate, (TableError,))


def binaries() -> Target:
    """Tables in binary formats and compressed ones.

    A small file may describe a large table (SECURITY.md), so that memory may run out.
    """
    return _tables(BINARIES, _behind_first_byte(mutations.of_bytes), (TableError, MemoryError))


def _tables(
    endings: tuple[str, ...], mutate: mutations.Mutation, allowed: tuple[type[Exception], ...]
) -> Target:
    where = folder()
    seeds = [
        bytes([k]) + file.read_bytes()
        for k, ending in enumerate(endings)
        for file in _small_files(TESTS / "tables", f"*{ending}" if ending else "no_suffix")
        if file.suffix not in (".py", ".json") or "expected" not in file.name
    ]

    def run(data: bytes) -> None:
        path = where / f"t{_ending(data, endings)}"
        path.write_bytes(data[1:])
        table = read_table(path)
        assert 0 not in table.shape, f"a table of shape {table.shape}"

    return Target(seeds, mutate, run, allowed)


def _ending(data: bytes, endings: tuple[str, ...]) -> str:
    return endings[data[0] % len(endings)] if data else endings[0]


def _behind_first_byte(mutate: mutations.Mutation) -> mutations.Mutation:
    return lambda data, rng: data[:1] + mutate(data[1:], rng)


# ---------------------------------------------------------------- the page

TOKEN = "TOKEN"
ANSWERS = {200, 400, 403, 404, 405, 408, 411, 413, 414, 417, 431, 501, 505}
BODIES: tuple[dict[str, Any], ...] = (
    {}, {"step": "a_0"}, {"step": "delta_1", "first": 3, "count": 2, "entry": [1, 2]},
    {"inputs": [[0, 1, 0.5]], "targets": [[0, 0, 1]], "step": "dW_0"},
    {"W": [[0, 1, 2, 0.25]], "b": [[1, 0, -1.5]], "step": "L"},
)  # fmt: skip


class Connection:
    """A socket that has received a request, without a network."""

    def __init__(self, request: bytes) -> None:
        self._received, self.sent = io.BytesIO(request), bytearray()

    def makefile(self, *_: Any) -> io.BytesIO:
        return self._received

    def sendall(self, data: bytes) -> None:
        self.sent += data

    def settimeout(self, seconds: float) -> None:
        pass


def page() -> Target:
    """Requests to the page. Without the token no request may be answered with content."""
    X = np.random.RandomState(0).rand(6, 3)
    net = dp.Network(3, [dp.Dense(4, "tanh"), dp.Dense(2, "softmax")], loss="cross_entropy", seed=0)
    served = explore(network_subject(net, X, [0, 1] * 3), open_browser=False)
    served.close()
    handler: Any = served._server.RequestHandlerClass
    handler.token = TOKEN

    def run(data: bytes) -> None:
        connection = Connection(data)
        handler(connection, ("127.0.0.1", 1), None)
        _require_valid(bytes(connection.sent), knows_token=TOKEN.encode() in data)

    return Target(_requests(), mutations.of_request, run, ())


def _require_valid(answer: bytes, knows_token: bool) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/"):  # nothing was asked, or in HTTP 0.9, which has no heads
        assert knows_token or not answer or b"error" in answer.lower(), "content without a token"
        return
    status = int(head.split()[1])
    assert status in ANSWERS, f"status {status}"
    assert knows_token or status != 200, "content without a token"
    if b"application/json" in head:
        found = json.loads(body)
        assert status == 200 or set(found) == {"error"}, "an error without a message"


def _requests() -> list[bytes]:
    host = b"Host: 127.0.0.1:80\r\n"
    gets = [
        f"GET /{TOKEN}/{path} HTTP/1.1\r\n".encode() + host + b"\r\n"
        for path in ("", "app.js", "api/network", "api/epochs?after=3", "../server.py", "nothing")
    ]
    posts = []
    for name in ("api/trace", "api/worked"):
        for content in BODIES:
            body = json.dumps(content).encode()
            head = f"POST /{TOKEN}/{name} HTTP/1.1\r\n".encode() + host
            posts.append(head + b"Content-Length: %d\r\n\r\n" % len(body) + body)
    return [*gets, *posts]


# ---------------------------------------------------------------- the server

COLUMNS = {"size": 0.5, "colour": "red", "when": "2021-01-05", "note": "some words 3"}


def bodies() -> Target:
    """Bodies of requests to the server: the first byte says if in JSON, by V2 or in Arrow."""
    path = folder() / "s.dp"
    path.write_bytes(_new_tabular_models()[1])
    served = Served.read(str(path))

    def run(data: bytes) -> None:
        kind, body = data[0] % 3 if data else 0, data[1:]
        if kind == 1:
            given, asked, request = read_v2(served, body, MOST_ROWS)
        else:
            read = read_arrow if kind == 2 else read_json
            given, asked, request = read(served, body, MOST_ROWS), Asked(proba=True), {}
        predicted = served.predict(given.columns, asked)
        assert {len(values) for values in predicted.values()} == {given.n}
        if kind == 1:
            response(served, predicted, request)

    def mutate(data: bytes, rng: random.Random) -> bytes:
        is_arrow = bool(data) and data[0] % 3 == 2
        change = mutations.of_bytes if is_arrow else mutations.of_json_text
        return _behind_first_byte(change)(data, rng)

    return Target(_bodies(), mutate, run, (Refused, InputError))


def _bodies() -> list[bytes]:
    columns = {name: [value, None, value] for name, value in COLUMNS.items()}
    inputs = [
        {
            "name": name,
            "datatype": "FP64" if name == "size" else "BYTES",
            "shape": [3],
            "data": cells,
        }
        for name, cells in columns.items()
    ]
    wanted = {"outputs": [{"name": "probability_a"}], "parameters": {"proba": True}, "id": "7"}
    by_json = [{"rows": [COLUMNS] * 2}, {"columns": columns}]
    arrow = [
        arrow_stream({name: np.array([value] * 3) for name, value in COLUMNS.items()}),
        _coded({name: [value] * 3 for name, value in COLUMNS.items()}),
    ]
    return [
        *(b"\0" + json.dumps(body).encode() for body in by_json),
        *(b"\1" + json.dumps({"inputs": inputs, **more}).encode() for more in ({}, wanted)),
        *(b"\2" + body for body in arrow),
    ]


def _coded(columns: dict[str, list[Any]]) -> bytes:
    """An Arrow stream with a dictionary."""
    import pyarrow as pa

    table = pa.table(columns)
    place = table.schema.get_field_index("colour")
    table = table.set_column(place, "colour", table["colour"].dictionary_encode())
    out = io.BytesIO()
    with pa.ipc.new_stream(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue()


TARGETS: dict[str, Callable[[], Target]] = {
    "models": models,
    "tabular": tabular,
    "checkpoints": checkpoints,
    "texts": texts,
    "binaries": binaries,
    "page": page,
    "bodies": bodies,
}
