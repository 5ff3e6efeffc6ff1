"""Measure steps of the xla engine in one and in two processes over gloo, with a core each."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys

from benchmarks.scaling.model import Point

NETWORKS = {
    "28 → 64 → 2": (28, 64, 2),
    "28 → 256 → 2": (28, 256, 2),
    "28 → 256 → 256 → 2": (28, 256, 256, 2),
    "100 → 512 → 512 → 2": (100, 512, 512, 2),
    "256 → 1024 → 1024 → 2": (256, 1024, 1024, 2),
}
BATCHES = (128, 512, 2048)
STEPS, EPOCHS = 16, 7

WORKER = """
import json, os, sys, time
import numpy as np
rank, workers, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
if hasattr(os, "sched_setaffinity"):
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[rank % len(cores)]})
import deltaprop as dp
if workers > 1:
    from deltaprop.engines.xla import connect
    connect(address, workers, rank)
networks, batches, steps, epochs = json.loads(sys.argv[4])
for name, sizes in networks.items():
    for batch in batches:
        local = batch // workers
        layers = [dp.Dense(H, "relu") for H in sizes[1:-1]] + [dp.Dense(sizes[-1], "softmax")]
        net = dp.Network(sizes[0], layers, loss="cross_entropy", reduction="mean",
                         dtype="float32", seed=0)
        rng = np.random.default_rng(rank)
        X = rng.standard_normal((local * steps, sizes[0]), dtype=np.float32)
        y = rng.integers(0, 2, local * steps)
        times = []
        def note(event):
            times.append(time.perf_counter())
        dp.fit(net, X, y, batch_size=local, max_epochs=epochs + 1, tol=0, patience=np.inf,
               engine="xla", callbacks=[note])
        if rank == 0:
            seconds = np.diff(times) / steps  # the first epoch compiles
            print(json.dumps({"network": name, "parameters": int(sum(W.size for W in net.W)),
                              "workers": workers, "batch": batch,
                              "seconds": float(np.median(seconds)),
                              "spread": float(np.std(np.log(seconds)))}), flush=True)
"""


def measured() -> list[Point]:
    """Measure every network and batch size with one worker and with two."""
    return [point for workers in (1, 2) for point in _run(workers)]


def _run(workers: int) -> list[Point]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    work = json.dumps([NETWORKS, BATCHES, STEPS, EPOCHS])
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "PYTHONWARNINGS": "ignore"}
    started = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(rank), str(workers), address, work],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
        )
        for rank in range(workers)
    ]  # fmt: skip
    outputs = [process.communicate() for process in started]
    for process, (_, errors) in zip(started, outputs, strict=True):
        if process.returncode:
            raise SystemExit(errors)
    # Gloo also writes to standard output.
    return [Point(**json.loads(line)) for line in outputs[0][0].splitlines() if line[0] == "{"]
