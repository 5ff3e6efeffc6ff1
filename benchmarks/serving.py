"""``python -m benchmarks.serving``: requests per second of ``deltaprop serve``, and their latency.

Clients in processes of their own send one request after the other on open connections. While they
do, the model file is replaced several times; every request must be answered with a prediction. On
a machine with few cores, clients and server share them: the figures are those of both together.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

CLIENTS = (1, 16, 256)
PENGUINS = Path(__file__).parents[1] / "data" / "penguins.csv"


class Result(NamedTuple):
    """What the clients of one run have seen."""

    seconds: list[float]
    statuses: Counter[int]
    versions: set[str]


def main() -> None:
    options = parsed()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "penguins.dp"
        models = _models(options.members)
        _replace(path, models[0])
        server, address = _started(path)
        try:
            rows = [_body(n) for n in options.rows]
            _run(address, rows[0], 4, 1.0)  # compiles, and opens what is opened lazily
            print(f"{'rows':>5} {'clients':>8} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
            for n, body in zip(options.rows, rows, strict=True):
                for clients in options.clients:
                    _report(n, clients, _run(address, body, clients, options.seconds))
            if options.reload:
                _reload(address, rows[0], path, models, options.seconds)
        finally:
            server.terminate()
            server.wait(60)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each run")
    parser.add_argument("--clients", type=int, nargs="*", default=CLIENTS)
    parser.add_argument("--rows", type=int, nargs="*", default=[1], help="of a request")
    parser.add_argument("--members", type=int, default=8, help="networks of the ensemble")
    parser.add_argument("--no-reload", dest="reload", action="store_false")
    return parser.parse_args()


def _models(members: int) -> list[bytes]:
    """The files of two models that differ."""
    import deltaprop as dp

    table = dp.tables.read_table(PENGUINS)
    X, y = table.drop(columns="species"), table["species"]
    files = []
    for seed in (0, 1):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that training was short
            model = dp.TabularClassifier(cv=members, max_iter=20, random_state=seed).fit(X, y)
        with tempfile.NamedTemporaryFile(suffix=".dp") as file:
            dp.save(model, file.name)
            files.append(Path(file.name).read_bytes())
    return files


def _replace(path: Path, data: bytes) -> None:
    other = path.with_suffix(".new")
    other.write_bytes(data)
    other.replace(path)


def _started(path: Path) -> tuple[subprocess.Popen[str], str]:
    server = subprocess.Popen(
        [sys.executable, "-m", "deltaprop", "serve", str(path), "--port", "0",
         "--reload-seconds", "0.1"],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert server.stderr is not None
    line = server.stderr.readline()
    return server, line.split(" on ")[1].split(" until")[0]


def _body(n: int) -> bytes:
    import deltaprop as dp

    table = dp.tables.read_table(PENGUINS).drop(columns="species")
    rows = json.loads(table.head(n).to_json(orient="records"))
    return json.dumps({"rows": rows}).encode()


# ---------------------------------------------------------------- clients


def _run(address: str, body: bytes, clients: int, seconds: float) -> Result:
    """Send requests from so many clients for so many seconds."""
    workers = min(clients, max(1, (os.cpu_count() or 1) - 1))
    shares = [len(range(i, clients, workers)) for i in range(workers)]
    with multiprocessing.get_context("fork").Pool(workers) as pool:
        parts = pool.starmap(_clients, [(address, body, share, seconds) for share in shares])
    total = Result([], Counter(), set())
    for part in parts:
        total.seconds.extend(part.seconds)
        total.statuses.update(part.statuses)
        total.versions.update(part.versions)
    return total


def _clients(address: str, body: bytes, n: int, seconds: float) -> Result:
    return asyncio.run(_all_clients(address, body, n, seconds))


async def _all_clients(address: str, body: bytes, n: int, seconds: float) -> Result:
    result = Result([], Counter(), set())
    end = time.perf_counter() + seconds
    await asyncio.gather(*(_client(address, body, end, result) for _ in range(n)))
    return result


async def _client(address: str, body: bytes, end: float, result: Result) -> None:
    host, port = address.removeprefix("http://").rsplit(":", 1)
    reader, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"POST /predict?proba=true HTTP/1.1\r\nHost: {host}:{port}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode()
    while time.perf_counter() < end:
        began = time.perf_counter()
        writer.write(head + body)
        status, answer = await _answer(reader)
        result.seconds.append(time.perf_counter() - began)
        result.statuses[status] += 1
        if status == 200:
            result.versions.add(answer["model_version"])
    writer.close()


async def _answer(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
    length = int(head.split("content-length: ")[1].split("\r\n")[0])
    body = await reader.readexactly(length)
    return int(head.split(" ", 2)[1]), json.loads(body)


# ---------------------------------------------------------------- results


def _reload(address: str, body: bytes, path: Path, models: Sequence[bytes], seconds: float) -> None:
    """Replace the file again and again while requests arrive, also by a damaged one."""
    context = multiprocessing.get_context("fork")
    stop = context.Event()
    files = [*models[::-1], b"damaged"]
    replacing = context.Process(target=_replace_often, args=(path, files, stop))
    replacing.start()
    found = _run(address, body, 16, seconds)
    stop.set()
    replacing.join()
    lost = sum(n for status, n in found.statuses.items() if status != 200)
    print(
        f"while the file is replaced every 0.3 s: {sum(found.statuses.values())} requests, {lost} "
        f"without a prediction, {len(found.versions)} versions of the model"
    )
    if lost or len(found.versions) < 2:
        raise SystemExit("requests were lost, or the model was not reloaded")


def _replace_often(path: Path, files: Sequence[bytes], stop: Any) -> None:
    turn = 0
    while not stop.wait(0.3):
        _replace(path, files[turn % len(files)])
        turn += 1


def _report(rows: int, clients: int, result: Result) -> None:
    wrong = {status: n for status, n in result.statuses.items() if status != 200}
    if wrong:
        raise SystemExit(f"answers with other statuses than 200: {wrong}")
    rate = clients * len(result.seconds) / sum(result.seconds)
    median, late = np.quantile(result.seconds, [0.5, 0.99]) * 1000
    print(f"{rows:>5} {clients:>8} {rate:>11,.0f} {median:>8.2f} {late:>8.2f}")


if __name__ == "__main__":
    main()
