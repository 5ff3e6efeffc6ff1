"""``deltaprop evaluate``: the scores of a model on a table that has the target."""

from __future__ import annotations

from typing import TYPE_CHECKING

from deltaprop.cli.options import AsJson, ModelFile, TableFile
from deltaprop.cli.output import note, print_json
from deltaprop.cli.reading_options import reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


@app.command()
@reads_a_table
def evaluate(
    model: ModelFile, table: TableFile, reading: ReadingOptions, as_json: AsJson = False
) -> None:
    """Compare a model's predictions with the target column of a table."""
    from rich.console import Console
    from sklearn.base import is_classifier

    from deltaprop.cli import report
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.tables import rows_with_target

    fitted = load_tabular(model)
    X, y = rows_with_target(fitted, model, table, reading)
    if is_classifier(fitted):
        _note_unknown_classes(y, fitted.classes_)
    result = {"rows": len(y), **report.scores(fitted, X, y)}
    if as_json:
        print_json(result)
    else:
        report.print_scores(result, Console())


def _note_unknown_classes(y: pd.Series, classes: np.ndarray) -> None:
    from deltaprop.estimators.fitted import as_labels

    unknown = sorted({str(label) for label in as_labels(y, classes)} - {str(c) for c in classes})
    if unknown:
        note(
            "The model was not trained on these classes, so their rows count as wrong: "
            f"{', '.join(unknown)}."
        )
