"""The digits in the space of the hidden units.

`net.trace` has every quantity of a pass by its name. X_2, the output of the last hidden layer, is
projected onto its two main components: the network has pulled the classes apart.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA

import deltaprop as dp

X, y = load_digits(return_X_y=True)
X = X / 16
layers = [dp.Dense(64, "relu"), dp.Dense(16, "tanh"), dp.Dense(10, "softmax")]
net = dp.Network(64, layers, loss="cross_entropy", reduction="mean", l2=1e-4, seed=0)
dp.fit(net, X, y, solver=dp.Adam(0.005), max_epochs=40)

trace = net.trace(X, y)
figure, axes = plt.subplots(1, 2, figsize=(7.2, 3.6))
for ax, values, title in (
    (axes[0], trace.X[0], "X_0: pixels"),
    (axes[1], trace.X[2], "X_2: hidden"),
):
    points = PCA(2).fit_transform(values)
    ax.scatter(*points.T, c=y, cmap="tab10", s=4, rasterized=True)
    ax.set(title=title, xticks=[], yticks=[])
    print(f"{title:12} {values.shape}")
