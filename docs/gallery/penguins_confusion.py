"""Which penguin is it? A table with categories and gaps, without preprocessing.

The columns are numbers, categories and missing values. The default model is an ensemble of eight
networks; the confusion matrix is that of its held-out predictions, which come from networks that
have not seen the row.
"""

import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

import deltaprop as dp

table = dp.tables.read_table("data/penguins.csv")
X, y = table.drop(columns="species"), table["species"]
model = dp.TabularClassifier(random_state=0).fit(X, y)
print(f"accuracy on held-out rows: {model.cv_score_:.3f}")

predicted = model.classes_[model.cv_prediction_.argmax(axis=1)]
ConfusionMatrixDisplay.from_predictions(y, predicted, cmap="Blues", colorbar=False)
plt.title("Held-out predictions")
