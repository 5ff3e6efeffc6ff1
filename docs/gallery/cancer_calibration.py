"""Are the probabilities right?

Of the tumours to which the model gives 70 %, about 70 % should be benign. The reliability diagram
compares held-out predictions of an ensemble, corrected by a temperature, with those of a single
network.
"""

import matplotlib.pyplot as plt
from sklearn.calibration import CalibrationDisplay
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import log_loss
from sklearn.model_selection import cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp

X, y = load_breast_cancer(return_X_y=True, as_frame=True)
columns = ["mean texture", "mean smoothness", "mean symmetry", "texture error"]  # a hard version
X = X[columns]
ensemble = dp.TabularClassifier(random_state=0).fit(X, y)
single = make_pipeline(StandardScaler(), dp.MLPClassifier(max_iter=500, random_state=0))
found = {
    "TabularClassifier": ensemble.cv_prediction_[:, 1],
    "one MLPClassifier": cross_val_predict(single, X, y, cv=8, method="predict_proba")[:, 1],
}
figure, ax = plt.subplots()
for name, probability in found.items():
    CalibrationDisplay.from_predictions(
        y, probability, n_bins=8, strategy="quantile", name=name, ax=ax
    )
    print(f"{name}: log-loss {log_loss(y, probability):.3f}")
ax.set_xlabel("predicted probability")
ax.set_ylabel("share of benign tumours")
