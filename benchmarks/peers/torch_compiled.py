"""PyTorch with the whole step compiled: batch, loss, gradient and Adam in one graph."""

from __future__ import annotations

import os
import shutil
from typing import Any

# Otherwise the compiler leaves a pool of processes behind while others are measured.
os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")

import torch

from benchmarks.peers.torch_eager import batches, data, loss_function, mean_loss, start
from benchmarks.problem import RATE, Problem
from benchmarks.turns import Turn, Unavailable

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8


def build(problem: Problem, threads: int | None) -> Turn:
    if not any(map(shutil.which, (os.environ.get("CXX", ""), "g++", "clang++", "cl"))):
        raise Unavailable("no C++ compiler")
    if threads:
        torch.set_num_threads(threads)
    (X, y), loss_of = data(problem), loss_function(problem)
    theta, step_count = start(problem), torch.zeros(())
    m, v = [torch.zeros_like(p) for p in theta], [torch.zeros_like(p) for p in theta]

    def step(batch: Any) -> torch.Tensor:
        gradient, loss = torch.func.grad_and_value(loss_of)(theta, X[batch], y[batch])
        step_count.add_(1)
        rate = RATE * (1 - BETA_2**step_count).sqrt() / (1 - BETA_1**step_count)
        for p, m_p, v_p, g in zip(theta, m, v, gradient, strict=True):
            m_p.mul_(BETA_1).add_(g, alpha=1 - BETA_1)
            v_p.mul_(BETA_2).addcmul_(g, g, value=1 - BETA_2)
            p.sub_(rate * m_p / (v_p.sqrt() + EPSILON))
        return loss

    torch._dynamo.reset()  # forget the compilations of other cases
    compiled = torch.compile(step)

    def turn(t: int) -> float:
        for order in problem.orders(t):
            losses = [compiled(batch) for batch in batches(problem, order)]
        return mean_loss(problem, losses)

    return turn
