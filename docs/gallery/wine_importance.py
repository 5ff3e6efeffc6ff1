"""Which columns matter?

`PermutationImportanceDisplay` shows how much the log-loss on other rows rises if one column is
shuffled.
"""

from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split

import deltaprop as dp
from deltaprop.inspect import PermutationImportanceDisplay

X, y = load_wine(return_X_y=True, as_frame=True)
X, X_test, y, y_test = train_test_split(X, y, stratify=y, random_state=0)
model = dp.TabularClassifier(random_state=0).fit(X, y)
PermutationImportanceDisplay.from_estimator(model, X_test, y_test)
print(f"accuracy on other rows: {model.score(X_test, y_test):.3f}")
