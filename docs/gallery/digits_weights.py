"""What the first layer sees.

Each column of W_0 has one number per pixel, so it can be drawn as an image. These are the weights
of the 24 units with the largest norms: purple is positive, orange negative.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits

import deltaprop as dp

X, y = load_digits(return_X_y=True)
layers = [dp.Dense(48, "relu"), dp.Dense(10, "softmax")]
net = dp.Network(64, layers, loss="cross_entropy", reduction="mean", l2=0.02, seed=0)
dp.fit(net, X / 16, y, solver=dp.Adam(0.005), max_epochs=150)
print(f"accuracy on these rows: {(net.predict(X / 16).argmax(axis=1) == y).mean():.3f}")

W = net.W[0]  # (64, 48)
units = np.argsort(-np.linalg.norm(W, axis=0))[:24]
limit = abs(W).max()
figure, axes = plt.subplots(4, 6, figsize=(6.4, 4.4))
for unit, ax in zip(units, axes.flat, strict=True):
    ax.imshow(W[:, unit].reshape(8, 8), cmap="PuOr", vmin=-limit, vmax=limit)
    ax.set(xticks=[], yticks=[])
