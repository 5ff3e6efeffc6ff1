"""The option ``--metric``."""

from __future__ import annotations

from deltaprop.cli.choices import require_choice
from deltaprop.inspect.metrics import CLASS_METRICS, NUMBER_METRICS


def checked_metric(metric: str | None, task: str) -> str | None:
    """Return the name of a metric as it was given; InputError if it does not suit the task."""
    if metric is not None:
        names = CLASS_METRICS if task == "classification" else NUMBER_METRICS
        require_choice("metric", metric, names, f" of a {task}")
    return metric
