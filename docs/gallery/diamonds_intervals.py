"""Prices of diamonds, with intervals that hold.

`predict_interval` returns the ends of an interval that contains the price of a new diamond with
the probability that you ask for. Here 90 % are asked for, and the plot shows 60 diamonds that
were held out.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.model_selection import train_test_split

import deltaprop as dp

table = dp.tables.read_table("data/diamonds.csv.gz").sample(6000, random_state=0)
X, y = table.drop(columns="price"), table["price"].to_numpy()
X, X_test, y, y_test = train_test_split(X, y, test_size=1000, random_state=0)
model = dp.TabularRegressor(random_state=0).fit(X, y)
low, high = model.predict_interval(X_test, coverage=0.9).T
inside = (low <= y_test) & (y_test <= high)
print(f"R² {model.score(X_test, y_test):.3f}; {inside.mean():.1%} of the prices are inside")

shown = np.argsort(y_test)[::17][:60]
position = np.arange(len(shown))
plt.vlines(position, low[shown], high[shown], color="C0", alpha=0.6, lw=4, label="90 % interval")
for is_inside, colour in ((True, "#0b0c0d"), (False, "C1")):
    rows = inside[shown] == is_inside
    label = "price" if is_inside else "price outside of its interval"
    plt.scatter(position[rows], y_test[shown][rows], color=colour, s=12, zorder=3, label=label)
plt.yscale("log")
plt.xlabel("held-out diamonds, by price")
plt.ylabel("US dollars")
plt.legend()
