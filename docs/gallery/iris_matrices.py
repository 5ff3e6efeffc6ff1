"""Every matrix of back-propagation.

One pass of twelve rows of iris through a small network: inputs and activations forward (above),
the error signals δ and the gradients ∂W backward (below). Purple is positive, orange negative.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_iris

import deltaprop as dp

X, y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
rows = slice(None, None, 13)
net = dp.Network(4, [dp.Dense(6, "tanh"), dp.Dense(3, "softmax")], loss="cross_entropy", seed=0)
dp.fit(net, X, y, max_epochs=15, solver=dp.Adam(0.01))
t = net.trace(X[rows], y[rows])

shown = [
    {"X_0": t.X[0], "a_0": t.a[0], "X_1": t.X[1], "a_1": t.a[1], "ŷ = X_2": t.X[2]},
    {
        "∂W_0": t.dW[0],
        "δ_0": t.delta[0],
        "W_1": net.W[1],
        "∂W_1": t.dW[1],
        "δ_1 = ŷ − y": t.delta[1],
    },
]
figure, axes = plt.subplots(2, 5, figsize=(7.2, 4.6))
for line, matrices in zip(axes, shown, strict=True):
    for ax, (name, matrix) in zip(line, matrices.items(), strict=True):
        limit = abs(matrix).max()
        ax.imshow(matrix, cmap="PuOr", vmin=-limit, vmax=limit, aspect="auto")
        ax.set(title=name, xticks=[], yticks=[], xlabel="{} × {}".format(*matrix.shape))
figure.tight_layout()
print(net.check(X[rows], y[rows]))
