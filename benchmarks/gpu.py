"""Training on an accelerator: the xla engine and PyTorch, as rows/s and fractions of the peak.

    python -m benchmarks.gpu            # on whatever JAX and PyTorch find
    python -m benchmarks.gpu --quick    # tiny sizes, to test the program

All rows are on the device before the time is taken, and all contestants use the same orders of
rows. The result is the median of a few epochs without the first.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

import deltaprop as dp
from benchmarks.problem import PROBLEMS, RATE, Problem
from deltaprop.data.rows import Rows
from deltaprop.engines import Run
from deltaprop.optim.state import TrainingState
from deltaprop.training.settings import Settings

EPOCHS = 5
WIDE = Problem("wide", (1024, *8 * (1024,), 10), batch=65_536, rows=4 * 65_536, passes=1)
CASES = (*PROBLEMS[:4], WIDE)
Epoch = Callable[[np.ndarray], None]


def ours(dtype: str | None) -> Callable[[Problem], Epoch]:
    """Return a builder for the xla engine, which runs one epoch per call."""

    def build(problem: Problem) -> Epoch:
        *hidden, H = problem.sizes[1:]
        layers = [*(dp.Dense(h, "relu") for h in hidden), dp.Dense(H, "softmax")]
        net = dp.Network(problem.sizes[0], layers, loss="cross_entropy", reduction="mean",
                         dtype="float32", seed=0)  # fmt: skip
        chain = Settings(solver=dp.Adam(RATE)).chain()
        run = Run(chain, problem.batch, TrainingState(), max_epochs=1)
        trainer = dp.Xla(dtype).trainer(net, Rows(problem.X, problem.y), run)
        rates = np.full(problem.rows // problem.batch, RATE)

        def epoch(order: np.ndarray) -> None:
            trainer.run([order], [rates])

        return epoch

    return build


def torch_with(mode: str | None, narrow: bool) -> Callable[[Problem], Epoch]:
    """Return a builder for PyTorch with its fused Adam; `mode` is that of ``torch.compile``."""

    def build(problem: Problem) -> Epoch:
        import torch

        from benchmarks.peers.torch_eager import data, loss_function, start

        device = "cuda" if torch.cuda.is_available() else "cpu"
        X, y = (part.to(device) for part in data(problem))
        theta = [p.to(device).requires_grad_() for p in start(problem)]
        loss_of = loss_function(problem)
        adam = torch.optim.Adam(theta, lr=RATE, fused=True)

        def forward(rows: Any, labels: Any) -> Any:
            with torch.autocast(device, torch.bfloat16, enabled=narrow):
                return loss_of(theta, rows, labels)

        forward = forward if mode is None else torch.compile(forward, mode=mode)

        def epoch(order: np.ndarray) -> None:
            for batch in torch.from_numpy(order).to(device).split(problem.batch):
                loss = forward(X[batch], y[batch])
                loss.backward()
                adam.step()
                adam.zero_grad(set_to_none=True)
            float(loss)  # waits for the device

        return epoch

    return build


CONTESTANTS = {
    "deltaprop": (ours(None), False),
    "torch eager": (torch_with(None, False), False),
    "torch compiled": (torch_with("default", False), False),
    "torch compiled, CUDA graphs": (torch_with("reduce-overhead", False), False),
    "deltaprop bfloat16": (ours("bfloat16"), True),
    "torch eager bfloat16": (torch_with(None, True), True),
    "torch compiled bfloat16": (torch_with("default", True), True),
    "torch compiled bfloat16, CUDA graphs": (torch_with("reduce-overhead", True), True),
}


def seconds(problem: Problem, build: Callable[[Problem], Epoch]) -> float:
    """Return the median seconds of an epoch, after one that compiles."""
    epoch, rng, times = build(problem), np.random.RandomState(0), []
    for _ in range(EPOCHS + 1):
        order = rng.permutation(problem.rows)
        started = time.perf_counter()
        epoch(order)
        times.append(time.perf_counter() - started)
    return float(np.median(times[1:]))


def operations(problem: Problem) -> float:
    """Return the operations of an epoch: forward, ∂W_l, and δ_l for all layers but the first."""
    shapes = [D * H for D, H in zip(problem.sizes, problem.sizes[1:], strict=False)]
    return 2.0 * problem.rows * (3 * sum(shapes) - shapes[0])


def peak(narrow: bool, quick: bool) -> float:
    """Measure the operations per second of large square products, the upper limit of a step."""
    import jax
    import jax.numpy as jnp

    n = 256 if quick else 8192
    A = jnp.ones((n, n), jnp.bfloat16 if narrow else jnp.float32)
    product = jax.jit(lambda A: jnp.matmul(A, A, precision="highest"))
    product(A).block_until_ready()
    times = []
    for _ in range(EPOCHS):
        started = time.perf_counter()
        product(A).block_until_ready()
        times.append(time.perf_counter() - started)
    return float(2.0 * n**3 / min(times))


def smaller(problem: Problem) -> Problem:
    sizes = tuple(min(size, 64) for size in problem.sizes)
    return replace(problem, sizes=sizes, batch=min(problem.batch, 128), rows=512)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to test the program")
    parser.add_argument("--cases", nargs="*", help="names of cases; by default all")
    options = parser.parse_args()
    import jax

    device = jax.devices()[0]
    best = {narrow: peak(narrow, options.quick) for narrow in (False, True)}
    print(f"{device.device_kind} ({device.platform}); large products reach "
          f"{best[False] / 1e12:.3g} TFLOP/s, in bfloat16 {best[True] / 1e12:.3g}")  # fmt: skip
    for case in CASES:
        if options.cases and case.name not in options.cases:
            continue
        problem = smaller(case) if options.quick else case
        print(f"\n{problem.title}")
        ours_took = 0.0
        for name, (build, narrow) in CONTESTANTS.items():
            try:
                took = seconds(problem, build)
            except Exception as error:  # contestants that cannot run here do not stop the others
                print(f"  {name:38} {type(error).__name__}: {str(error).splitlines()[0][:60]}")
                continue
            if name.startswith("deltaprop"):
                ours_took = took
            fraction = operations(problem) / took / best[narrow]
            print(f"  {name:38} {problem.rows / took:12,.0f} rows/s  {fraction:6.1%} of peak  "
                  f"{took / ours_took:6.2f} × ours")  # fmt: skip


if __name__ == "__main__":
    main()
