"""The cost of per-sample norms, of private training and of K-FAC, relative to plain training.

    python -m benchmarks.private
    python -m benchmarks.private --threads 1 --turns 9

- One gradient of 256 rows: plain, with the norm of each sample's gradient, and with each clipped.
- Epochs with Adam: plain, clipped, private, and private with Opacus (ghost clipping, PyTorch's data
  loader, batches of fixed size), if that is installed.
- Epochs with K-FAC and with Adam, in batches of 128.

All train 784 → 256 → 128 → 10 in float32. They take turns in one process, and medians are compared.
"""

from __future__ import annotations

import argparse
import itertools
import sys
import warnings
from collections.abc import Callable
from typing import Any

from benchmarks import machine

SIZES, ROWS = (784, 256, 128, 10), 6400
CALLS = 25  # gradients of a turn: as many as an epoch has steps
EPOCHS = 3  # of a turn


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--turns", type=int, default=7)
    args = parser.parse_args(argv)
    machine.pin(args.threads)
    from benchmarks.turns import Contest

    warnings.simplefilter("ignore")  # Opacus and PyTorch warn about their own defaults
    for title, base, contestants in (
        ("one gradient of 256 rows", "plain", _gradients()),
        (f"{EPOCHS} epochs, batch 256", "Adam", _private_epochs()),
        (f"{EPOCHS} epochs, batch 128", "Adam", _kfac_epochs()),
    ):
        times, busy = Contest(contestants).take_turns(args.turns)
        per_turn = times[base].median or float("nan")
        print(f"\n{title} ({busy or 0:.2f} processors were busy with other programs)")
        for name, each in times.items():
            if each.median is None:
                print(f"  {name:20} {each.error}")
            else:
                print(f"  {name:20} {1e3 * each.median:9.2f} ms  {each.median / per_turn:6.2f}")


# ---------------------------------------------------------------- contestants


def _data(rows: int) -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, SIZES[0]), dtype=np.float32)
    return X, rng.integers(0, SIZES[-1], rows)


def _network() -> Any:
    import deltaprop as dp

    hidden = [dp.Dense(units, "relu") for units in SIZES[1:-1]]
    return dp.Network(
        SIZES[0], [*hidden, dp.Dense(SIZES[-1], "softmax")],
        loss="cross_entropy", reduction="mean", dtype="float32", seed=0,
    )  # fmt: skip


def _gradients() -> dict[str, Callable[[], Any]]:
    import numpy as np

    from deltaprop.data.rows import Rows
    from deltaprop.engines.fused.gradients import WholeGradient

    def build(**fields: Any) -> Callable[[], Any]:
        def start() -> Any:
            evaluate = WholeGradient(_network(), Rows(*_data(256)), **fields)

            def turn(t: int) -> float:
                for _ in range(CALLS):
                    loss, _ = evaluate()
                return loss

            return turn

        return start

    return {
        "plain": build(),
        "with norms": build(norms=np.zeros(256)),
        "clipped": build(norms=np.zeros(256), max_norm=0.1, g_scale=1 / 256),
    }


def _epochs(batch: int, **settings: Any) -> Callable[[], Any]:
    def start() -> Any:
        import deltaprop as dp

        net, (X, y) = _network(), _data(ROWS)

        def turn(t: int) -> float:
            history = dp.fit(
                net, X, y, batch_size=batch, max_epochs=EPOCHS, engine="fused", seed=t, **settings
            )
            return float(history.loss_curve[-1])

        return turn

    return start


def _private_epochs() -> dict[str, Callable[[], Any]]:
    import deltaprop as dp

    return {
        "Adam": _epochs(256, solver=dp.Adam()),
        "clipped": _epochs(256, solver=dp.Adam(), privacy=dp.Privacy(0.0)),
        "private": _epochs(256, solver=dp.Adam(), privacy=dp.Privacy(1.0)),
        "Opacus": _opacus,
    }


def _opacus() -> Any:
    import torch
    from opacus import PrivacyEngine

    layers: list[Any] = []
    for D, H in itertools.pairwise(SIZES):
        layers += [torch.nn.Linear(D, H), torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    X, y = map(torch.from_numpy, _data(ROWS))
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(X, y), 256, shuffle=True)
    net, optimizer, loss_of, loader = PrivacyEngine().make_private(
        module=net, optimizer=torch.optim.Adam(net.parameters()), data_loader=loader,
        criterion=torch.nn.CrossEntropyLoss(), noise_multiplier=1.0, max_grad_norm=1.0,
        poisson_sampling=False, grad_sample_mode="ghost",
    )  # fmt: skip

    def turn(t: int) -> float:
        for _ in range(EPOCHS):
            for X_batch, y_batch in loader:
                optimizer.zero_grad()
                loss = loss_of(net(X_batch), y_batch)
                loss.backward()
                optimizer.step()
        return float(loss.item())

    return turn


def _kfac_epochs() -> dict[str, Callable[[], Any]]:
    import deltaprop as dp

    return {
        "Adam": _epochs(128, solver=dp.Adam()),
        "K-FAC": _epochs(128, solver=dp.KFAC()),
    }


if __name__ == "__main__":
    sys.exit(main())
