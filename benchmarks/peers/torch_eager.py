"""PyTorch in eager mode: autograd in every step, and its fused Adam."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn

Loss = Callable[[Sequence[torch.Tensor], Any, Any], torch.Tensor]
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
LOSSES = {
    "cross_entropy": F.cross_entropy,
    "binary_cross_entropy": F.binary_cross_entropy_with_logits,
    "squared_error": lambda a, y: F.mse_loss(a, y) * (a.shape[1] / 2),  # ½ of the sum over outputs
}


def build(problem: Problem, threads: int | None) -> Turn:
    if threads:
        torch.set_num_threads(threads)
    X, y = data(problem)
    theta = [p.requires_grad_() for p in start(problem)]
    adam, loss_of = torch.optim.Adam(theta, lr=RATE, fused=True), loss_function(problem)

    def turn(t: int) -> float:
        for order in problem.orders(t):
            losses = []
            for batch in batches(problem, order):
                loss = loss_of(theta, X[batch], y[batch])
                loss.backward()
                adam.step()
                adam.zero_grad(set_to_none=True)
                losses.append(loss.detach())
        return mean_loss(problem, losses)

    return turn


def data(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Return X, or the columns of its ones if sparse, and y as the loss takes it."""
    X, y = problem.columns if problem.sparse else problem.X, torch.from_numpy(problem.y)
    return torch.from_numpy(X), y if problem.sizes[-1] > 1 else y[:, None].float()


def start(problem: Problem) -> list[torch.Tensor]:
    """Return the initial W_0, b_0, W_1, …"""
    pairs = zip(*problem.start, strict=True)
    return [torch.from_numpy(p.copy()) for pair in pairs for p in pair]


def batches(problem: Problem, order: np.ndarray) -> Iterable[Any]:
    """Return the rows of each batch of an epoch, as an index of X; all rows are not copied."""
    return torch.from_numpy(order).split(problem.batch) if problem.shuffled else [slice(None)]


def mean_loss(problem: Problem, losses: Sequence[torch.Tensor]) -> float:
    """Return the mean over the rows of an epoch; the last batch may have fewer rows."""
    rows = torch.full((len(losses),), float(problem.batch))
    rows[-1] = problem.rows - problem.batch * (len(losses) - 1)
    return float(torch.stack(list(losses)) @ rows) / problem.rows


def loss_function(problem: Problem) -> Loss:
    """Return the mean loss as a function of θ, X and y, which computes the network.

    If X is sparse, its values are ones, so X W sums rows of W.
    """
    activation, loss = ACTIVATIONS[problem.activation], LOSSES[problem.loss]
    sparse = problem.sparse

    def mean_loss_of(theta: Sequence[torch.Tensor], X: Any, y: Any) -> torch.Tensor:
        for k in range(0, len(theta), 2):
            W, b = theta[k], theta[k + 1]
            first_of_sparse = sparse and k == 0
            X = F.embedding_bag(X, W, mode="sum") + b if first_of_sparse else torch.addmm(b, X, W)
            X = activation(X) if k + 2 < len(theta) else X
        return loss(X, y)

    return mean_loss_of
