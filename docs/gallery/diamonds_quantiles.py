"""Quantile regression of a price.

With `loss="quantile"` one network predicts several quantiles of the price for each weight of a
diamond.
"""

import matplotlib.pyplot as plt
import numpy as np

import deltaprop as dp

table = dp.tables.read_table("data/diamonds.csv.gz").sample(5000, random_state=0)
X, y = table[["carat"]], table["price"] / 1000
quantiles = (0.1, 0.5, 0.9)
loss = dp.losses.get("quantile", quantiles=quantiles)
model = dp.TabularRegressor(loss=loss, random_state=0).fit(X, y)

grid = np.linspace(0.2, 2.5, 200)
predicted = model.predict(table.iloc[:200][["carat"]].assign(carat=grid))
plt.scatter(X["carat"], y, s=3, alpha=0.25, color="C4", rasterized=True)
for quantile, line in zip(quantiles, predicted.T, strict=True):
    plt.plot(grid, line, lw=2, label=f"quantile {quantile}")
plt.xlim(0.2, 2.5)
plt.xlabel("carat")
plt.ylabel("1,000 US dollars")
plt.legend()
below = (y.to_numpy()[:, None] < model.predict(X)).mean(axis=0)
print("share of prices below each quantile:", below.round(3).tolist())
