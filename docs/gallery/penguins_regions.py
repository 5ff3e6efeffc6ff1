"""Decision regions of a small network.

`MLPClassifier` on two measurements of the bill: the colour is the predicted species, and it fades
where the probability is low.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp

columns = ["bill_length_mm", "bill_depth_mm"]
table = dp.tables.read_table("data/penguins.csv").dropna(subset=columns)
X, y = table[columns].to_numpy(), table["species"].to_numpy()
network = dp.MLPClassifier((32, 32), activation="tanh", alpha=0.01, max_iter=300, random_state=0)
model = make_pipeline(StandardScaler(), network).fit(X, y)

x1, x2 = np.meshgrid(np.linspace(31, 61, 150), np.linspace(12.5, 22.5, 150))
probabilities = model.predict_proba(np.column_stack([x1.ravel(), x2.ravel()]))
rgb = np.array([[0.23, 0.51, 0.77], [0.91, 0.44, 0.04], [0.16, 0.62, 0.44]])
image = np.dstack([(probabilities @ rgb).reshape(*x1.shape, 3), np.full(x1.shape, 0.35)])
plt.imshow(image, origin="lower", extent=(31, 61, 12.5, 22.5), aspect="auto")
for species, colour in zip(model.classes_, rgb, strict=True):
    plt.scatter(*X[y == species].T, color=colour, s=14, label=species)
plt.xlabel("bill length in mm")
plt.ylabel("bill depth in mm")
plt.legend()
print(f"accuracy on these rows: {model.score(X, y):.3f}")
