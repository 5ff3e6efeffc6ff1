"""A missed tumour costs more than a false alarm.

`cost=` says what each kind of mistake costs, and the class of the least expected cost is
predicted. The curve shows the mean cost of the held-out predictions at every threshold.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_breast_cancer

import deltaprop as dp

X, benign = load_breast_cancer(return_X_y=True, as_frame=True)
malignant = benign == 0
costs = {"false_positive": 1, "false_negative": 20}
model = dp.TabularClassifier(cost=costs, random_state=0).fit(X, malignant)

probability = model.cv_prediction_[:, 1]
thresholds = np.linspace(0.005, 0.995, 199)
alarm = probability[:, None] > thresholds
truth = malignant.to_numpy()[:, None]
cost = (1 * (alarm & ~truth) + 20 * (~alarm & truth)).mean(axis=0)
plt.plot(thresholds, cost)
plt.axvline(model.threshold_, color="C1", label=f"threshold_ = {model.threshold_:.3f}")
plt.axvline(0.5, color="C4", ls="--", label="0.5")
plt.xlabel("threshold of the probability")
plt.ylabel("mean cost of a held-out row")
plt.ylim(bottom=0)
plt.legend()
missed = (~model.predict(X)[truth[:, 0]].astype(bool)).sum()
print(f"threshold {model.threshold_:.3f}; {missed} of {truth.sum()} tumours missed")
