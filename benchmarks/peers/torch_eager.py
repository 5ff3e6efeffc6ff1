"""PyTorch in eager mode: autograd in every step, and its fused Adam."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn import functional as F

from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn


def build(problem: Problem, threads: int) -> Turn:
    torch.set_num_threads(threads)
    X, y = data(problem)
    theta = [p.requires_grad_() for p in start(problem)]
    adam = torch.optim.Adam(theta, lr=RATE, fused=True)

    def turn(t: int) -> float:
        for order in problem.orders(t):
            total = torch.zeros(())
            for batch in torch.from_numpy(order).split(problem.batch):
                loss = loss_of(theta, X[batch], y[batch], problem.sparse)
                loss.backward()
                adam.step()
                adam.zero_grad(set_to_none=True)
                total += loss.detach()
        return float(total) / (problem.rows // problem.batch)

    return turn


def data(problem: Problem) -> tuple[torch.Tensor, torch.Tensor]:
    """Return X, or the columns of its ones if sparse, and y as the loss takes it."""
    X, y = problem.columns if problem.sparse else problem.X, torch.from_numpy(problem.y)
    return torch.from_numpy(X), y if problem.sizes[-1] > 1 else y[:, None].float()


def start(problem: Problem) -> list[torch.Tensor]:
    """Return the initial W_0, b_0, W_1, …"""
    pairs = zip(*problem.start, strict=True)
    return [torch.from_numpy(p.copy()) for pair in pairs for p in pair]


def loss_of(theta: Sequence[torch.Tensor], X: Any, y: Any, sparse: bool) -> torch.Tensor:
    """Return the mean loss. If X is sparse, its values are ones, so X W sums rows of W."""
    for k in range(0, len(theta), 2):
        W, b = theta[k], theta[k + 1]
        first_of_sparse = sparse and k == 0
        X = F.embedding_bag(X, W, mode="sum") + b if first_of_sparse else torch.addmm(b, X, W)
        X = X.relu() if k + 2 < len(theta) else X
    if X.shape[1] > 1:
        return F.cross_entropy(X, y)
    return F.binary_cross_entropy_with_logits(X, y)
