"""In scikit-learn's grid search.

The estimators follow scikit-learn's interface, so pipelines, searches and scorers work. The map
shows the R² of each combination of a five-fold cross-validation.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_diabetes
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import deltaprop as dp

X, y = load_diabetes(return_X_y=True)
y = (y - y.mean()) / y.std()
alphas, rates = [0.1, 1, 10, 100, 1000], [0.001, 0.003, 0.01, 0.03]
network = dp.MLPRegressor(hidden_layer_sizes=(32,), activation="tanh", max_iter=200, random_state=0)
grid = {"mlpregressor__alpha": alphas, "mlpregressor__learning_rate_init": rates}
search = GridSearchCV(make_pipeline(StandardScaler(), network), grid, cv=5).fit(X, y)
print(f"best R² {search.best_score_:.3f} with {search.best_params_}")

scores = search.cv_results_["mean_test_score"].reshape(len(alphas), len(rates))
plt.imshow(scores, cmap="Blues", vmin=0, vmax=0.9, aspect="auto")
for (i, j), score in np.ndenumerate(scores):
    plt.text(j, i, f"{score:.2f}", ha="center", va="center", color="black")
plt.xticks(range(len(rates)), map(str, rates))
plt.yticks(range(len(alphas)), map(str, alphas))
plt.xlabel("learning_rate_init")
plt.ylabel("alpha")
