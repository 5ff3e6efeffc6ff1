"""``python -m benchmarks.streaming``: training on a table that is larger than the memory.

Writes a folder of Parquet files (by default 20,000,000 rows of 28 numbers and a label), and trains
28 → 128 → 64 → 2 on it for one epoch. Contestants take turns, each in a new process:

- memory: ``dp.fit`` on arrays; loading them is not counted;
- stream: ``dp.fit`` on ``dp.tables.stream``; reading is counted;
- scikit-learn: ``MLPClassifier.partial_fit`` over pyarrow's batches, on a tenth of the rows.

Prints rows per second and the peak memory of each contestant, as the system measures it.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

FEATURES, FILES, GROUP = 28, 20, 131_072

COMMON = """
import json, resource, sys, time, warnings
import numpy as np
warnings.simplefilter("ignore")
folder, rows = sys.argv[1], int(sys.argv[2])
def network():
    import deltaprop as dp
    return dp, dp.Network(28, [dp.Dense(128, "relu"), dp.Dense(64, "relu"), dp.Dense(2, "softmax")],
                          loss="cross_entropy", reduction="mean", dtype="float32", seed=0)
def print_result(rows, seconds):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows_a_second": rows / seconds, "peak": peak}))
"""
PROGRAMS = {
    "memory": """
import pyarrow.dataset as ds
dp, net = network()
X, y, at = np.empty((rows, 28), np.float32), np.empty(rows, np.int64), 0
for batch in ds.dataset(folder).to_batches():
    n = batch.num_rows
    for j in range(28):
        X[at:at + n, j] = batch.column(f"x{j}").to_numpy()
    y[at:at + n] = batch.column("label").to_numpy()
    at += n
dp.fit(net, X[:2048], y[:2048], batch_size=1024, max_epochs=1, engine="fused")
started = time.perf_counter()
dp.fit(net, X, y, batch_size=1024, max_epochs=1, engine="fused")
print_result(rows, time.perf_counter() - started)
""",
    "stream": """
dp, net = network()
dp.fit(net, np.zeros((2048, 28), np.float32), np.zeros(2048, int), batch_size=1024, max_epochs=1,
       engine="fused")
started = time.perf_counter()
source = dp.tables.stream(folder, target="label")
dp.fit(net, source, batch_size=1024, max_epochs=1, engine="fused")
print_result(rows, time.perf_counter() - started)
""",
    "scikit-learn": """
import pyarrow.dataset as ds
from sklearn.neural_network import MLPClassifier
model = MLPClassifier((128, 64), batch_size=1024)
started, done = time.perf_counter(), 0
for batch in ds.dataset(folder).to_batches(batch_size=131_072):
    X = np.column_stack([batch.column(f"x{j}").to_numpy() for j in range(28)])
    model.partial_fit(X, batch.column("label").to_numpy(), classes=[0, 1])
    done += len(X)
    if done >= rows // 10:
        break
print_result(done, time.perf_counter() - started)
""",
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.streaming")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/deltaprop-streaming"))
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    make(options.folder, options.rows)
    found: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
    for turn in range(options.turns):
        for name in list(PROGRAMS)[:: 1 if turn % 2 == 0 else -1]:
            found[name].append(run(PROGRAMS[name], options.folder, options.rows))
    if options.json:
        options.json.write_text(json.dumps(found, indent=1))
    speed = {n: statistics.median(t["rows_a_second"] for t in turns) for n, turns in found.items()}
    for name, turns in found.items():
        peak = max(t["peak"] for t in turns) / 1e9
        times = speed[name] / speed["stream"]
        print(f"{name:13} {speed[name]:12,.0f} rows/s, {times:5.2f} × the stream, {peak:5.2f} GB")


def make(folder: Path, rows: int) -> None:
    """Write the files that do not exist yet."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True)
    cuts = [rows * k // FILES for k in range(FILES + 1)]
    rule = np.random.default_rng(0).standard_normal(FEATURES)
    for k in range(FILES):
        path, n = folder / f"part-{k:03}-of-{rows}.parquet", cuts[k + 1] - cuts[k]
        if path.exists():
            continue
        X = np.random.default_rng(k + 1).standard_normal((FEATURES, n), dtype=np.float32)
        label = (rule @ X + np.sin(3 * X[0]) > 0).astype(np.int64)
        table = pa.table({**{f"x{j}": X[j] for j in range(FEATURES)}, "label": label})
        pq.write_table(table, path.with_suffix(".part"), row_group_size=GROUP)
        path.with_suffix(".part").rename(path)


def run(code: str, folder: Path, rows: int) -> dict[str, float]:
    command = [sys.executable, "-P", "-c", COMMON + code, str(folder), str(rows)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    answer: dict[str, float] = json.loads(done.stdout)
    return answer


if __name__ == "__main__":
    main()
