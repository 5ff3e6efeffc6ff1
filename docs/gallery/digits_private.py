"""The price of privacy.

Private training bounds by ε how much θ reveals about any single row. Each point is one network of
the same shape, trained with the noise that achieves this ε at δ = 10⁻⁴; more noise costs accuracy
on other rows.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deltaprop as dp

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)  # 16 is the known range


def accuracy(privacy):
    layers = [dp.Dense(32, "tanh"), dp.Dense(10, "softmax")]
    net = dp.Network(64, layers, loss="cross_entropy", reduction="mean", seed=0)
    dp.fit(net, X, y, solver=dp.Adam(0.02), batch_size=400, max_epochs=30, privacy=privacy)
    return (net.predict(X_test).argmax(axis=1) == y_test).mean()


epsilons = [0.5, 1, 2, 4, 8, 16]
found = []
for epsilon in epsilons:
    privacy = dp.Privacy.of(epsilon=epsilon, delta=1e-4, epochs=30, max_norm=0.5)
    found.append(np.mean([accuracy(privacy) for _ in range(3)]))
    print(f"ε = {epsilon:4}: noise {privacy.noise:6.2f}, accuracy {found[-1]:.3f}")
plt.semilogx(epsilons, found, "o-", label="private, mean of 3")
plt.axhline(accuracy(None), color="C4", ls="--", label="not private")
plt.xticks(epsilons, map(str, epsilons))
plt.xlabel("ε")
plt.ylabel("accuracy on other rows")
plt.legend()
