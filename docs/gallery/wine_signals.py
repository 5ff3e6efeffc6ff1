"""Vanishing gradients, measured.

The root mean square of the error signals δ_l in a network of ten layers, for three activations at
the start of training. With the logistic function the first layers get next to no gradient.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_wine

import deltaprop as dp

X, y = load_wine(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
for activation in ("logistic", "tanh", "relu"):
    layers = [*(dp.Dense(32, activation) for _ in range(10)), dp.Dense(3, "softmax")]
    net = dp.Network(13, layers, loss="cross_entropy", reduction="mean", seed=0)
    trace = net.trace(X, y)
    rms = [np.sqrt((delta**2).mean()) for delta in trace.delta]
    plt.semilogy(range(len(rms)), rms, "o-", label=activation)
    print(f"{activation:9} δ_0 / δ_10 = {rms[0] / rms[-1]:.1e}")
plt.xlabel("layer l")
plt.ylabel("root mean square of δ_l")
plt.legend()
