"""Schedules of the learning rate.

Above, the factor by which each schedule multiplies the learning rate of 50 epochs; below, the
validation loss of the same network with Adam.
"""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import deltaprop as dp

X, y = load_digits(return_X_y=True)
X, X_test, y, y_test = train_test_split(X / 16, y, random_state=0)
schedules = {
    "Constant": dp.schedules.Constant(),
    "Cosine": dp.schedules.Cosine(),
    "OneCycle": dp.schedules.OneCycle(),
    "FlatCosine": dp.schedules.FlatCosine(),
    "CosLog4": dp.schedules.CosLog4(),
}
figure, (above, below) = plt.subplots(2, sharex=True, figsize=(6.4, 5.4))
for name, schedule in schedules.items():
    layers = [dp.Dense(64, "relu"), dp.Dense(10, "softmax")]
    net = dp.Network(64, layers, loss="cross_entropy", reduction="mean", seed=0)
    rates = []
    history = dp.fit(
        net, X, y, solver=dp.Adam(0.01), schedule=schedule, max_epochs=50, restore_best=False,
        validation=(X_test, y_test),
        callbacks=[lambda epoch, rates=rates: rates.append(epoch.learning_rate)],
    )  # fmt: skip
    epochs = range(1, len(rates) + 1)
    above.plot(epochs, rates, label=name)
    below.plot(epochs, history.validation_loss_curve, label=name)
    print(f"{name:10} {(net.predict(X_test).argmax(axis=1) == y_test).mean():.3f}")
above.set_ylabel("learning rate")
below.set_ylabel("validation loss")
below.set_ylim(0, 0.4)
below.set_xlabel("epoch")
above.legend(ncols=5, loc="lower center", bbox_to_anchor=(0.5, 1), fontsize=8, columnspacing=1)
