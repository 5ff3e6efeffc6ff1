"""The time of a new process that imports a library and trains on iris.

The network is 4 → 100 → 3, with 200 steps over all 150 rows. The rows come from a file, so that no
contestant imports the data sets of another library. The estimators of deltaprop and scikit-learn
run with their defaults. "deltaprop.fit" trains a Network, which does not import scikit-learn;
compare it with torch and JAX. Later turns use what a library compiled to disk in the first turn.
deltaprop's bytecode is compiled beforehand, as pip does for the libraries that it installs: with
PYTHONDONTWRITEBYTECODE a checkout would be compiled in each turn.
"""

from __future__ import annotations

import compileall
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
from sklearn.datasets import load_iris

import deltaprop as dp
from benchmarks.turns import Build, Turn, Unavailable

READ = """
import sys, warnings, numpy as np
warnings.simplefilter("ignore")
data = np.load(sys.argv[1])
X, y = data["X"], data["y"]
"""
ESTIMATOR = "MLPClassifier(batch_size=150, tol=0, n_iter_no_change=200).fit(X, y)"
DELTAPROP = f"{READ}from deltaprop import MLPClassifier\n{ESTIMATOR}"
SCIKIT_LEARN = f"{READ}from sklearn.neural_network import MLPClassifier\n{ESTIMATOR}"
DELTAPROP_FIT = f"""{READ}
import deltaprop as dp
net = dp.Network(4, [dp.Dense(100, "relu"), dp.Dense(3, "softmax")],
                 loss="cross_entropy", dtype="float32", seed=0)
dp.fit(net, X, y, batch_size=150, tol=0, patience=200)
"""
TORCH = f"""{READ}
import torch
X, y = torch.from_numpy(X), torch.from_numpy(y)
net = torch.nn.Sequential(torch.nn.Linear(4, 100), torch.nn.ReLU(), torch.nn.Linear(100, 3))
adam = torch.optim.Adam(net.parameters(), lr=1e-3, fused=True)
for _ in range(200):
    torch.nn.functional.cross_entropy(net(X), y).backward()
    adam.step()
    adam.zero_grad()
"""
JAX = f"""{READ}
import jax, jax.numpy as jnp
rng = np.random.default_rng(0)
theta = [rng.normal(0, s ** -0.5, (s, t)).astype("f") for s, t in ((4, 100), (100, 3))]
theta = [theta[0], np.zeros(100, "f"), theta[1], np.zeros(3, "f")]
def loss(theta):
    W, b, U, c = theta
    return -jnp.take_along_axis(
        jax.nn.log_softmax(jax.nn.relu(X @ W + b) @ U + c), y[:, None], 1).mean()
@jax.jit
def train(theta):
    def step(k, state):
        theta, m, v = state
        g = jax.grad(loss)(theta)
        m = [0.9 * a + 0.1 * b for a, b in zip(m, g)]
        v = [0.999 * a + 0.001 * b * b for a, b in zip(v, g)]
        rate = 1e-3 * jnp.sqrt(1 - 0.999 ** (k + 1.0)) / (1 - 0.9 ** (k + 1.0))
        return [p - rate * a / (jnp.sqrt(b) + 1e-8) for p, a, b in zip(theta, m, v)], m, v
    zeros = [jnp.zeros_like(p) for p in theta]
    return jax.lax.fori_loop(0, 200, step, (theta, zeros, zeros))
jax.block_until_ready(train(theta))
"""
PROGRAMS = {
    "deltaprop": DELTAPROP,
    "deltaprop.fit": DELTAPROP_FIT,
    "scikit-learn": SCIKIT_LEARN,
    "torch": TORCH,
    "jax": JAX,
}


def contestants(threads: int) -> dict[str, Build]:
    compileall.compile_dir(Path(dp.__file__).parent, quiet=2)
    folder = tempfile.TemporaryDirectory()  # deleted with the last contestant
    rows = Path(folder.name) / "iris.npz"
    X, y = load_iris(return_X_y=True)
    np.savez(rows, X=X.astype(np.float32), y=y.astype(np.int64))
    return {name: partial(_build, code, rows, folder) for name, code in PROGRAMS.items()}


def _build(code: str, rows: Path, folder: tempfile.TemporaryDirectory[str]) -> Turn:
    def turn(t: int) -> None:
        # -P: a package of the same name in the working directory must not be imported.
        command = [sys.executable, "-P", "-c", code, str(rows)]
        process = subprocess.run(command, capture_output=True, text=True)
        if process.returncode:
            message = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
            raise Unavailable(message[-1].replace("ModuleNotFoundError: ", "not installed: "))

    turn.folder = folder  # type: ignore[attr-defined]  # keeps the file of the rows
    return turn
