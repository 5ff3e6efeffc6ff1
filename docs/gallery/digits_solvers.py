"""Five solvers on handwritten digits.

The training loss of the same network with each solver. K-FAC follows the natural gradient, and
Muon takes orthogonal steps; L-BFGS uses all rows in each iteration, which is counted as an epoch
here.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits

import deltaprop as dp

X, y = load_digits(return_X_y=True)
X = X / 16
solvers = {
    "SGD(0.2)": dp.SGD(0.2),
    "Adam(0.003)": dp.Adam(0.003),
    "Muon(0.003)": dp.Muon(0.003),
    "KFAC()": dp.KFAC(),
    "LBFGS()": dp.LBFGS(),
}
for name, solver in solvers.items():
    layers = [dp.Dense(64, "tanh"), dp.Dense(64, "tanh"), dp.Dense(10, "softmax")]
    net = dp.Network(64, layers, loss="cross_entropy", reduction="mean", l2=1e-5, seed=0)
    history = dp.fit(net, X, y, solver=solver, max_epochs=40, tol=0)
    plt.plot(range(1, len(history.loss_curve) + 1), history.loss_curve, label=name)
    print(f"{name:12} {history.loss_curve[-1]:.4f}")
plt.yscale("log")
plt.xlabel("epoch")
plt.ylabel("training loss")
plt.legend()
