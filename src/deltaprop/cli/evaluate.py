"""``deltaprop evaluate``: the scores of a model on a table that has the target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deltaprop.cli.options import AsJson, MetricName, ModelFile, Quiet, TableFile
from deltaprop.cli.output import as_text, examples, note, print_json
from deltaprop.cli.reading_options import reads_a_table
from deltaprop.cli.registry import app
from deltaprop.data.reading.options import ReadingOptions

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd


NEARLY_ALL = 0.95  # of the rows


@app.command(
    epilog=examples(
        "deltaprop evaluate model.dp new.csv",
        "deltaprop evaluate model.dp new.csv --metric log_loss --json",
    )
)
@reads_a_table
def evaluate(
    model: ModelFile,
    table: TableFile,
    reading: ReadingOptions,
    metric: MetricName = None,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Compare a model's predictions with the target column of a table.

    If these are rows that the model was trained on, a message says so: their scores are better than
    those of new rows.
    """
    from rich.console import Console
    from sklearn.base import is_classifier

    from deltaprop.cli import report
    from deltaprop.cli.metrics import checked_metric
    from deltaprop.cli.models import load_tabular
    from deltaprop.cli.tables import rows_with_target
    from deltaprop.inspect.comparison import on_rows, trained_on

    fitted = load_tabular(model)
    X, y = rows_with_target(fitted, model, table, reading)
    metric = checked_metric(metric, "classification" if is_classifier(fitted) else "regression")
    if is_classifier(fitted) and not quiet:
        _note_unknown_classes(y, fitted.classes_)
    comparison = on_rows(fitted, X, y, metric)
    seen = trained_on(fitted, X, y)
    result = {
        "table": str(table),
        "rows": len(y),
        "trained_on": seen,
        **report.comparison_facts(comparison),
        **report.details(fitted, X, y),
    }
    if seen is not None and seen >= NEARLY_ALL:
        result["verdict"] = _of_training_rows(fitted)
    if as_json:
        print_json(result)
        return
    console = Console()
    console.print(as_text(f"{table}: {len(y):,} rows with a target."))
    report.print_scores(result, comparison, "On the rows of the table", console)
    if seen and seen < NEARLY_ALL:
        console.print(
            f"The model was trained on rows that equal {max(seen, 0.01):.0%} of these rows; on new "
            "rows, the scores may be worse.", highlight=False,
        )  # fmt: skip


def _of_training_rows(model: Any) -> str:
    better = ""
    if model.cv_score_ is not None:
        name = "accuracy" if hasattr(model, "classes_") else "R²"
        better = f" In the cross-validation, the {name} was {model.cv_score_:.4g}."
    return "The model was trained on these rows, so the scores say little about new rows." + better


def _note_unknown_classes(y: pd.Series, classes: np.ndarray) -> None:
    from deltaprop.estimators.fitted import as_labels

    unknown = sorted({str(label) for label in as_labels(y, classes)} - {str(c) for c in classes})
    if unknown:
        note(
            "The model was not trained on these classes, so their rows count as wrong, and are "
            f"left out of the metrics of probabilities: {', '.join(unknown)}."
        )
